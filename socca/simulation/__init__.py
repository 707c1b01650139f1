"""Simulated surveys, and how well fits recover them."""
