"""Disks of finite thickness, seen at an angle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from socca.errors import ModelError
from socca.models.base import Extended
from socca.models.disk import vertical
from socca.models.disk.vertical import ExponentialHeight, HyperSecantHeight, Vertical
from socca.models.radial.base import Radial, along_axes, covered, superellipse
from socca.models.radial.profiles import Sersic
from socca.parameters.parameterised import Spec
from socca.utils.lazy import jax, jnp
from socca.utils.tags import tagged

if TYPE_CHECKING:
    from socca.utils.array_types import Array

__all__ = ["Disk", "ExponentialHeight", "HyperSecantHeight", "Vertical", "vertical"]

#: The line of sight is integrated in this many pieces.
PIECES = 4
#: Cosines and sines of the inclination are kept this far from zero, where lines of sight run along the plane or the
#: axis, and the shortest scale is kept this far from zero, in units of the depth.
_FLAT, _SHORTEST = 1e-6, 1e-4


@tagged("spec/DiskForm")
class DiskForm(NamedTuple):
    """What is static about a disk.

    Attributes
    ----------
    radial, vertical : Spec
        Its profiles.
    losdepth : float
        Degrees.
    losbins : int
        Number of points.
    """

    radial: Spec
    vertical: Spec
    losdepth: float
    losbins: int


class Disk(Extended):
    """A disk of finite thickness: the integral of ``radial(R) vertical(z)`` along each line of sight.

    R and z are measured in the disk's own frame: its plane is turned by ``vertical.inc`` about the major axis
    (position angle ``radial.theta``). A disk that is not round in its own plane has ``radial.e`` and ``radial.cbox``.

    The integral is divided by that of the vertical profile over all heights, so that brightness keeps the unit of the
    image: face-on, the disk has exactly the brightness of its radial profile, and its flux is the same at all
    inclinations.

    Parameters
    ----------
    radial : Radial, optional
        The radial profile, a `Sersic` profile by default. Its parameters become ``radial.re`` and so on.
    vertical : Vertical, optional
        The vertical profile, `HyperSecantHeight` by default. Its parameters become ``vertical.inc`` and so on.
    losdepth : float, optional
        How far the integration goes (degrees) along the line of sight, to both sides of the point where it crosses the
        plane and of the point where it passes the disk's axis, and between these. By default that of `vertical`, which
        is 10 arcsec unless it was made with another.
    losbins : int, optional
        Number of points on each line of sight, rounded up to a multiple of four. By default that of `vertical`, 200.
    positive : bool, optional
        Give models in which it is negative anywhere no probability.
    **values : number, Prior, Tie or callable
        Values of the parameters, as ``**{"radial.re": 3e-4}``.
    """

    attributes = ("id", "positive", "losdepth", "losbins")
    position_names = ("radial.xc", "radial.yc")
    shapes_left_alone = ("radial.e",)  # which the inclination stands for

    def __init__(
        self,
        radial: Radial | None = None,
        vertical: Vertical | None = None,
        losdepth: float | None = None,
        losbins: int | None = None,
        positive: bool | None = None,
        **values: Any,
    ) -> None:
        super().__init__(positive)
        radial = Sersic() if radial is None else radial
        vertical = HyperSecantHeight() if vertical is None else vertical
        for name, part, kind in (("radial", radial, Radial), ("vertical", vertical, Vertical)):
            if not isinstance(part, kind):
                raise ModelError(f"Disk: {name} must be a {kind.__name__} profile, got {part!r}")
            self._add_part(name, part, part.fields)
        for name, given in (("losdepth", losdepth), ("losbins", losbins)):
            if given is not None:
                setattr(vertical, name, given)
        self.structure()
        self._assign(values)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("losdepth", "losbins"):
            setattr(self.vertical, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def losdepth(self) -> float:
        """How far lines of sight are integrated, degrees; kept by the vertical profile."""
        return self.vertical.losdepth

    @property
    def losbins(self) -> int:
        """Number of points on each line of sight; kept by the vertical profile."""
        return self.vertical.losbins

    @property
    def radial(self) -> Radial:
        """The radial profile."""
        return self._parts["radial"]

    @property
    def vertical(self) -> Vertical:
        """The vertical profile."""
        return self._parts["vertical"]

    def structure(self) -> DiskForm:
        """Return the profiles, and how the line of sight is integrated."""
        depth, bins = self.losdepth, self.losbins
        if isinstance(depth, bool) or not isinstance(depth, int | float | np.number) or not 0 < depth < np.inf:
            raise ModelError(f"Disk: losdepth = {depth!r} must be a positive number of degrees")
        if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or not 16 <= bins <= 10_000:
            raise ModelError(f"Disk: losbins = {bins!r} must be a whole number from 16 to 10000")
        return DiskForm(self.radial.spec(), self.vertical.spec(), float(depth), int(bins))

    @classmethod
    def smooth(cls, spec: Spec) -> bool:
        """Tell whether the radial profile has no edge."""
        form: DiskForm = spec.structure  # type: ignore[assignment]
        return form.radial.kind.smooth(form.radial)

    @classmethod
    def isophote_shape(cls, values: dict[str, Any], spec: Spec) -> tuple[Array, Array]:
        """Return position angle (rad) and, roughly, axis ratio of the isophotes."""
        ratio = jnp.cos(values["vertical.inc"]) * (1 - values["radial.e"])
        return values["radial.theta"], jnp.maximum(ratio, 0.05)

    @classmethod
    def brightness(cls, dx: Array, dy: Array, values: dict[str, Any], spec: Spec, cell: Array) -> Array:
        """Return the brightness at an offset from the centre; see `Extended.brightness`."""
        form: DiskForm = spec.structure  # type: ignore[assignment]
        radial = {name: values[f"radial.{name}"] for name, _ in form.radial.fields}
        height = {name: values[f"vertical.{name}"] for name, _ in form.vertical.fields}
        dtype = jnp.result_type(dx, float)
        axes = along_axes(radial["theta"])
        radius = superellipse(radial, "cbox" in form.radial.neutral, cell)
        sin, cos = (jnp.maximum(f(height["inc"]), _FLAT) for f in (jnp.sin, jnp.cos))
        major, minor = axes(dx, dy)
        # The disk is the same in front of and behind its plane and axis: one quadrant of the sky is enough.
        offset = jnp.abs(minor)
        lines = _Lines.through(major, offset, sin, cos, 1 - radial["e"], height["zs"], form.losdepth)
        nodes, weights = np.polynomial.legendre.leggauss(-(-form.losbins // PIECES))
        share = jnp.asarray((nodes + 1) / 2, dtype)
        # Divided here, and not in the loop: a gamma function for each pixel would be slow to compile and to run.
        weight = jnp.asarray(weights / 2, dtype)
        points = share, weight, weight / form.vertical.kind.thickness(height)
        edge = form.radial.kind.edge
        sides = [axes(cell[0, k], cell[1, k]) for k in (0, 1)]

        # Rematerialised, so that the derivatives too need memory for a few images and not for one per point.
        @jax.checkpoint
        def add(total: Any, point: tuple[Any, Any, Any]) -> tuple[Any, None]:
            at, step, part = point
            y, z, length = lines.at(at)
            r = radius(major, y)
            found = form.radial.kind.full_profile(r, radial, form.radial) * form.vertical.kind.profile(z, height)
            if edge is not None:
                across = _edge_slopes(radius, jnp.broadcast_to(major, y.shape), y)
                steps = [across[0] * side[0] + across[1] * side[1] * cos for side in sides]
                # What the point stands for is also as long as its step along the line of sight.
                along = across[1] * (sin * step) * length
                found = found * covered(radial[edge] - r, jnp.sqrt(steps[0] ** 2 + along**2 + 1e-30), steps[1])
            return total + found * (part * length), None

        # The pieces are summed in the end: in the loop, that would take longer than all the rest.
        return jax.lax.scan(add, jnp.zeros_like(lines.span), points)[0].sum(0)

    @classmethod
    def quantities(cls, values: dict[str, Any], spec: Spec, pixel_area: Array) -> dict[str, Array]:
        """Return flux and radii of the disk seen face-on, and its position angle; see `Component.quantities`.

        The flux is that at every inclination.
        """
        form: DiskForm = spec.structure  # type: ignore[assignment]
        radial = {name: values[f"radial.{name}"] for name, _ in form.radial.fields}
        found: dict[str, Array] = form.radial.kind.light(radial, form.radial, pixel_area)
        return {**found, "pa": jnp.rad2deg(radial["theta"]) % 180.0}


class _Lines(NamedTuple):
    """Pieces of all lines of sight, the first axis of each array.

    From a point, where the line crosses the plane or passes the axis, the distance along it is ``scale sinh(s)``, with
    s from 0 to `span`: as dense near that point as the sharper of the profiles there, and ever less dense further away.
    """

    y: Any
    z: Any
    sin: Any
    cos: Any
    scale: Any
    span: Any

    @staticmethod
    def through(major: Array, offset: Array, sin: Array, cos: Array, ratio: Array, zs: Array, depth: float) -> _Lines:
        """Divide the lines of sight at offsets along the major and (positive) the minor axis."""
        # Where the line crosses the plane, it is at (y, z) = (offset / cos, 0); where it passes the axis, at
        # (0, -offset / sin). Between these it is divided halfway.
        between = jnp.minimum(offset * (0.5 / (sin * cos)), depth)
        zero, whole = jnp.zeros_like(offset), jnp.full_like(offset, depth)
        # Of the height, it is as thick as this; of the radius, which has a minimum there, as this.
        thick, round_ = zs / cos, jnp.abs(major) * (ratio / sin)
        scale = jnp.clip(jnp.minimum(thick, round_), _SHORTEST * depth, depth)
        reach = jnp.stack([whole, between, between, whole])
        signs = jnp.array([1, -1, 1, -1], offset.dtype).reshape((PIECES,) + (1,) * offset.ndim)
        return _Lines(
            jnp.stack([offset / cos, offset / cos, zero, zero]),
            jnp.stack([zero, zero, -offset / sin, -offset / sin]),
            signs * sin,
            signs * cos,
            scale,
            jnp.arcsinh(reach * (1 / scale)),
        )

    def at(self, share: Array) -> tuple[Array, Array, Array]:
        """Return y (in the plane), z and the change of distance with the share of the span, at a share of it."""
        up = jnp.exp(self.span * share)
        down = 1 / up
        distance = self.scale * (0.5 * (up - down))
        return self.y + distance * self.sin, self.z + distance * self.cos, self.scale * (0.5 * (up + down)) * self.span


def _edge_slopes(radius: Callable[[Array, Array], Array], major: Array, minor: Array) -> tuple[Array, Array]:
    """Return the derivatives of the radius in the plane along both axes."""
    one, none = jnp.ones_like(major), jnp.zeros_like(major)
    return tuple(jax.jvp(radius, (major, minor), side)[1] for side in ((one, none), (none, one)))
