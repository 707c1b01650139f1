"""Importance sampling in rounds: proposals, weights, and when they are enough."""
