"""Components without a radial profile: point sources and the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from socca.models.base import Component
from socca.parameters.parameterised import Spec, param

if TYPE_CHECKING:
    from socca.utils.array_types import Array


class Point(Component):
    """A point source: the PSF times `Ic` at a sub-pixel position.

    Without a PSF it is one pixel's worth of light, shared among the four nearest pixels so that its centroid is right.
    """

    role = "point"

    xc = param("deg", "RA, or offset to the east in a pixel frame", period_on_sky=360.0)
    yc = param("deg", "Dec, or offset to the north in a pixel frame")
    Ic = param("image", "flux, as the sum over pixels")

    @classmethod
    def quantities(cls, values: dict[str, Any], spec: Spec, pixel_area: Array) -> dict[str, Array]:
        """Return the flux; see `Component.quantities`."""
        return {"flux": values["Ic"]}


class Background(Component):
    """A polynomial of third degree in ``(x, y) / rs`` about the field centre; never convolved."""

    role = "background"
    position_names = ()

    rs = param("deg", "length in which the coordinates are measured", 1 / 3600, lower=0.0)
    a0 = param("image", "constant", 0.0)
    a1x = param("image", "coefficient of x (east)", 0.0, neutral=0.0)
    a1y = param("image", "coefficient of y (north)", 0.0, neutral=0.0)
    a2xx = param("image", "coefficient of x^2", 0.0, neutral=0.0)
    a2xy = param("image", "coefficient of x y", 0.0, neutral=0.0)
    a2yy = param("image", "coefficient of y^2", 0.0, neutral=0.0)
    a3xxx = param("image", "coefficient of x^3", 0.0, neutral=0.0)
    a3xxy = param("image", "coefficient of x^2 y", 0.0, neutral=0.0)
    a3xyy = param("image", "coefficient of x y^2", 0.0, neutral=0.0)
    a3yyy = param("image", "coefficient of y^3", 0.0, neutral=0.0)

    @classmethod
    def surface(cls, x: Array, y: Array, values: dict[str, Any], spec: Spec) -> Array:
        """Return the background at field-plane coordinates.

        Parameters
        ----------
        x, y : array
            East and north of the field centre, degrees.
        values : dict
            Values of the parameters.
        spec : Spec
            What is static: which coefficients are fixed at zero.

        Returns
        -------
        array
            In the unit of the image.
        """
        x, y = x / values["rs"], y / values["rs"]
        total = values["a0"] + 0 * x
        for name in cls.fields:
            if name in ("rs", "a0") or name in spec.neutral:
                continue
            powers = name[2:]
            total = total + values[name] * x ** powers.count("x") * y ** powers.count("y")
        return total
