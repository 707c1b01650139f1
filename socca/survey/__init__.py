"""Surveys: targets, jobs, chunks, workers, status, catalogue and flags."""
