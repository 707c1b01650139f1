"""Time stamps in files: UTC, to the second, in ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> str:
    """Return the time, such as ``2026-11-26T02:30:00Z``; `datetime.datetime.fromisoformat` reads it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
