"""Logging of the command line and its workers."""

from __future__ import annotations

import copy
import logging
from pathlib import Path

from socca.errors import SoccaError

_FORMAT, _TIME = "%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"


class TerminalFormatter(logging.Formatter):
    """Formatter for the terminal: an error of socca's own is its message, in the line of the record.

    What is wrong with a file is said by the message. The traceback is in log files, and other errors keep theirs.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, SoccaError):
            record = copy.copy(record)
            record.msg, record.args = f"{record.getMessage()}: {' '.join(str(error).split())}", ()
            record.exc_info = record.exc_text = None
        return super().format(record)


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
        handler.setFormatter(TerminalFormatter(_FORMAT, _TIME))
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not append:
            file.write_text("", encoding="utf-8")
        handler = logging.FileHandler(file, mode="a", encoding="utf-8")  # several processes may share it
        handler.setFormatter(logging.Formatter(_FORMAT, _TIME))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("socca").setLevel(level)
    logging.captureWarnings(True)
