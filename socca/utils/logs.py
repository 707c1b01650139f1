"""Logging of the command line and its workers."""

from __future__ import annotations

import logging
from pathlib import Path


def start_logging(file: Path | None, level: int = logging.INFO, *, append: bool = False) -> None:
    """Log to a file if one is given, to the terminal otherwise. For programs, not for the library.

    Parameters
    ----------
    file : Path or None
        The file; its folder is made.
    level : int
        From which level on our own messages are kept; of others, warnings.
    append : bool
        Whether to add to the file, instead of beginning it anew.
    """
    if file is None:
        handler: logging.Handler = logging.StreamHandler()
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not append:
            file.write_text("", encoding="utf-8")
        handler = logging.FileHandler(file, mode="a", encoding="utf-8")  # several processes may share it
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("socca").setLevel(level)
    logging.captureWarnings(True)
