"""Benchmarks, each a program: ``python -m benchmarks.likelihood`` from the root of the repository."""
