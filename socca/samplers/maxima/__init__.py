"""Maxima of a posterior: where searches start, the searches, and what was found."""
