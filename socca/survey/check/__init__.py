"""Check of a survey's inputs, before anything runs."""
