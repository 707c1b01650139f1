"""Helpers that know nothing of astronomy: lazy imports, logging, digests, files, time stamps."""
