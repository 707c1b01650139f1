"""Priors of positions: they must not reach behind the observer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from socca.data.frames import reaches_behind
from socca.errors import ModelError
from socca.parameters.parameter import LEAST_PROBABILITY
from socca.priors import Prior

if TYPE_CHECKING:
    from socca.data.frames import Frame


def check_positions(frame: Frame, components: Sequence[Any]) -> None:
    """Raise `ModelError` if the prior of a position reaches where no image shows a source.

    Parameters
    ----------
    frame : Frame
        That of the image. Offsets, in an image without a WCS, reach nowhere else.
    components : sequence of Component
        Those of the model, with their ids. Tied positions are left to what they are tied to.
    """
    if not frame.on_sky:
        return
    for component in components:
        names = component.position_names
        values = [component.values[name] for name in names]
        ranges = [_range(value) for value in values]
        if not any(isinstance(value, Prior) for value in values) or None in ranges:
            continue
        if reaches_behind(ranges[0], ranges[1], frame.reference):  # type: ignore[arg-type]
            priors = ", ".join(
                f"{component.id}_{name} ~ {value!r}"
                for name, value in zip(names, values, strict=True)
                if isinstance(value, Prior)
            )
            ra, dec = frame.reference
            raise ModelError(
                f"{priors}: the prior reaches positions 90 degrees or more from the centre of the image (RA {ra:.6g}, "
                f"Dec {dec:.6g} deg), which no image shows: narrow it"
            )


def _range(value: Any) -> tuple[float, float] | None:
    """Return the range of a number or prior, without the far tails of one that has no bounds; None of a tie."""
    if isinstance(value, float):
        return value, value
    if not isinstance(value, Prior):
        return None
    low, high = value.support
    return (
        low if math.isfinite(low) else float(value.icdf(LEAST_PROBABILITY)),
        high if math.isfinite(high) else float(value.icdf(1 - LEAST_PROBABILITY)),
    )
