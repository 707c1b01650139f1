"""Figures and model images."""
