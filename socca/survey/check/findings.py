"""Findings of a check, and the lines that report them."""

from __future__ import annotations

import contextlib
import enum
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from socca.fitting.plausibility.doubts import MEANINGS

#: How many findings of one kind are reported in full, where their messages differ.
IN_FULL = 5
#: How many further targets of one kind are named.
NAMED = 10


class Severity(enum.StrEnum):
    """What a finding means for a fit."""

    #: The fit would fail.
    PROBLEM = "problem"
    #: The fit would be done, and flagged.
    DOUBT = "doubt"
    #: The fit would be done; its log would say so.
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Parameters
    ----------
    target : str
        Where; empty if it concerns the whole survey.
    message : str
        What, and what to do; one line.
    severity : Severity
        What it means for the fit.
    file : str
        The file that it concerns; empty if that is the config.
    flag : str
        The flag that the fit would have; empty for what is no doubt.
    """

    target: str
    message: str
    severity: Severity = Severity.PROBLEM
    file: str = ""
    flag: str = ""

    def __str__(self) -> str:
        prefix = {Severity.DOUBT: f"{self.flag}: ", Severity.WARNING: "warning: "}.get(self.severity, "")
        file = f" ({self.file})" if self.file and self.file not in self.message else ""
        return f"{self.target or 'survey'}: {prefix}{self.message}{file}"


@dataclass
class _Kind:
    """Findings that are reported together.

    Parameters
    ----------
    first : Finding
        The first of them.
    shown : set of str
        The messages that were reported.
    more : dict
        The targets of the others, in order, as keys.
    """

    first: Finding
    shown: set[str] = field(default_factory=set)
    more: dict[str, None] = field(default_factory=dict)


@dataclass
class Report:
    """Lines that tell what was found, each as soon as it is, and a summary.

    A message that many targets share is said once, with their number. Of one flag, a few messages are said in full.

    Parameters
    ----------
    every : bool
        Say every finding in full.
    """

    every: bool = False
    _kinds: dict[tuple[str, str], _Kind] = field(default_factory=dict)
    _targets: dict[Severity, set[str]] = field(default_factory=lambda: {each: set() for each in Severity})

    def lines(self, findings: Iterable[Finding]) -> Iterator[str]:
        """Yield a line for each finding that is new, and then one for the others of its kind.

        Parameters
        ----------
        findings : iterable of Finding
            Of a check.

        Yields
        ------
        str
            As they are found.
        """
        for finding in findings:
            self._targets[finding.severity].add(finding.target)
            kind = self._kinds.setdefault((finding.severity, finding.flag or finding.message), _Kind(finding))
            if self.every or (finding.message not in kind.shown and len(kind.shown) < IN_FULL):
                kind.shown.add(finding.message)
                yield str(finding)
            else:
                kind.more[finding.target] = None
        for kind in self._kinds.values():
            if kind.more:
                names = ", ".join(list(kind.more)[:NAMED]) + (", …" if len(kind.more) > NAMED else "")
                flag = kind.first.flag
                what = f"{flag}: {MEANINGS[flag]}" if len(kind.shown) > 1 else kind.first.message
                yield f"{len(kind.more)} more target(s) ({names}): {what}"

    @property
    def clean(self) -> bool:
        """Whether there is neither a problem nor a doubt."""
        return not (self._targets[Severity.PROBLEM] or self._targets[Severity.DOUBT])

    def summary(self, targets: int, fits: int) -> str:
        """Return the last line.

        Parameters
        ----------
        targets, fits : int
            How many were checked.

        Returns
        -------
        str
            How many targets have findings of each severity.
        """
        of_survey = any("" in names for names in self._targets.values())
        counts = {severity: len(names - {""}) for severity, names in self._targets.items()}
        parts = [f"{number} with {severity}s" for severity, number in counts.items() if number]
        if of_survey:
            parts.insert(0, "problems of the whole survey")
        if self.clean:
            parts.insert(0, "nothing wrong")
        return f"{targets} target(s), {fits} fit(s): {', '.join(parts)}"


class _Listener(logging.Handler):
    """Keeps the messages of a logger."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.heard.append(record.getMessage())


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """Collect the warnings that are given within, by Python's warnings or the log, instead of printing them.

    Yields
    ------
    list of str
        Filled when the block ends: each in one line, and once.
    """
    messages: list[str] = []
    listener, logger = _Listener(), logging.getLogger("socca")
    logger.addHandler(listener)
    passed_on, logger.propagate = logger.propagate, False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield messages
    finally:
        logger.removeHandler(listener)
        logger.propagate = passed_on
        heard = [*(str(each.message) for each in caught), *listener.heard]
        messages += dict.fromkeys(" ".join(text.split()) for text in heard)


def file_of(message: str, files: Mapping[str, Path], otherwise: str = "image") -> str:
    """Return the file that a message begins with the role of, as ``psf: …`` does.

    Parameters
    ----------
    message : str
        Of an error or a warning.
    files : mapping of Path
        Of a target, by what they are to it.
    otherwise : str
        The role where the message names none.

    Returns
    -------
    str
        The path; empty where the target has no such file.
    """
    named = re.match(r"([a-z]+)\b", message)
    role = named[1] if named and named[1] in files else otherwise
    return str(files.get(role, ""))
