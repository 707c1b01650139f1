#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the folder where it was started: the repository's root, unless
# SOCCA_SOURCE names it. The environment is made anew when this file changes, as it does with each version:
# socca 0.2.0
set -euo pipefail
source=${SOCCA_SOURCE:-.}
[ -f "$source/pyproject.toml" ] || { echo "set SOCCA_SOURCE to the folder of socca's repository" >&2; exit 1; }
python -m pip install --no-deps "$source"
