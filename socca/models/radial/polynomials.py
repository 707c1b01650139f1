# ruff: noqa: N803  (the names of the parameters)
"""Exponential profiles times a polynomial of fourth degree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from socca.errors import ModelError
from socca.models.numbers import for_numbers
from socca.models.radial.base import Radial
from socca.parameters.parameterised import param
from socca.utils.lazy import jnp

if TYPE_CHECKING:
    from socca.utils.array_types import Array

_ARCSEC = 1 / 3600


class PolyExponential(Radial):
    """Exponential profile times a polynomial, ``Is exp(-r/rs) [1 + c1 (r/rc) + ... + c4 (r/rc)^4]``."""

    rs = param("deg", "scale length along the major axis", lower=0.0)
    Is = param("image", "central brightness")
    c1 = param("", "coefficient of r/rc", 0.0, neutral=0.0)
    c2 = param("", "coefficient of (r/rc)^2", 0.0, neutral=0.0)
    c3 = param("", "coefficient of (r/rc)^3", 0.0, neutral=0.0)
    c4 = param("", "coefficient of (r/rc)^4", 0.0, neutral=0.0)
    rc = param("deg", "length in which the polynomial is written", _ARCSEC, lower=0.0)

    @staticmethod
    @for_numbers
    def profile(r: Array, Is: Array, rs: Array, c1: Array, c2: Array, c3: Array, c4: Array, rc: Array) -> Array:
        """Return the brightness at radius `r`, in the unit of the scale radius."""
        x = r * (1 / rc)
        return Is * jnp.exp(r * (-1 / rs)) * (1 + x * (c1 + x * (c2 + x * (c3 + x * c4))))


class PolyExpoRefact(Radial):
    """As `PolyExponential`, in amplitudes: ``exp(-r/rs) [Is + I1 (r/rc) + ... + I4 (r/rc)^4]``.

    It is linear in all of its amplitudes, so that they may have priors of their own.
    """

    rs = param("deg", "scale length along the major axis", lower=0.0)
    Is = param("image", "central brightness")
    I1 = param("image", "amplitude of r/rc", 0.0, neutral=0.0)
    I2 = param("image", "amplitude of (r/rc)^2", 0.0, neutral=0.0)
    I3 = param("image", "amplitude of (r/rc)^3", 0.0, neutral=0.0)
    I4 = param("image", "amplitude of (r/rc)^4", 0.0, neutral=0.0)
    rc = param("deg", "length in which the polynomial is written", _ARCSEC, lower=0.0)

    @staticmethod
    @for_numbers
    def profile(r: Array, Is: Array, rs: Array, I1: Array, I2: Array, I3: Array, I4: Array, rc: Array) -> Array:
        """Return the brightness at radius `r`, in the unit of the scale radius."""
        x = r * (1 / rc)
        return jnp.exp(r * (-1 / rs)) * (Is + x * (I1 + x * (I2 + x * (I3 + x * I4))))

    def refactor(self) -> PolyExponential:
        """Return the `PolyExponential` of the same brightness, whose coefficients are ``ck = Ik / Is``.

        Returns
        -------
        PolyExponential
            With this one's position, shape and truncation; it is part of no model.

        Raises
        ------
        ModelError
            If a parameter is not a number, or Is is zero.
        """
        values = {name: value for name, value in self.values.items() if name not in self._added}
        other = [name for name, value in values.items() if not isinstance(value, float)]
        if other:
            raise ModelError(f"refactor: {', '.join(other)} must be numbers")
        if values["Is"] == 0:
            raise ModelError("refactor: Is = 0 leaves no amplitude to take out")
        for k in (1, 2, 3, 4):
            values[f"c{k}"] = values.pop(f"I{k}") / values["Is"]
        return PolyExponential(self.truncation, self.positive, **values)
