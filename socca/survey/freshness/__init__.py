"""Freshness: whether the result of a fit is up to date, and a job of Snakemake has anything to do."""
