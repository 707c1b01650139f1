"""Coordinates without edges: of chains, and of proposals; and parameters on a circle."""
