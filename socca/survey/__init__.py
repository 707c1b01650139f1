"""Surveys: targets, chunks, their check, their jobs, status, catalogue and flags."""
