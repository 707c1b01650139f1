"""Times of day in files: UTC, to the second, as ISO 8601 writes them."""

from __future__ import annotations

import calendar
import time

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def now() -> str:
    """Return the time, such as ``2026-11-26T02:30:00Z``."""
    return time.strftime(_FORMAT, time.gmtime())


def seconds_since_epoch(stamp: str) -> float:
    """Return the time that `now` wrote, in seconds since 1970; ValueError if it is not one."""
    return float(calendar.timegm(time.strptime(stamp, _FORMAT)))
