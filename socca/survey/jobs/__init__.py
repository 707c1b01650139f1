"""Jobs: what Snakemake runs, for one fit or a chunk of them, with its worker processes."""
