"""Sphinx configuration: `sphinx-build -W docs docs/_build`."""

project = "socca"
author = "The socca developers"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
myst_heading_anchors = 3
