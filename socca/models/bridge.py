"""Bridges: sources whose brightness along their major axis and across it follow profiles of their own."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from socca.errors import ModelError
from socca.models.base import Extended
from socca.models.radial.base import Radial, along_axes, covered, slopes
from socca.models.radial.profiles import Beta, Power, TopHat
from socca.parameters.parameterised import Spec, param
from socca.utils.lazy import jnp
from socca.utils.tags import tagged

if TYPE_CHECKING:
    from socca.utils.array_types import Array


@tagged("spec/BridgeHalf")
class Half(NamedTuple):
    """What is static about one of the profiles.

    Attributes
    ----------
    profile : Spec
        The profile.
    exposed : tuple of str
        Those of its parameters that are the bridge's.
    scale, amplitude : str
        Those that the bridge sets.
    """

    profile: Spec
    exposed: tuple[str, ...]
    scale: str
    amplitude: str


class Bridge(Extended, abstract=True):
    """A bridge; see its subclasses.

    Parameters
    ----------
    radial : Radial, optional
        The profile f of the distance r from the major axis. Its parameters become ``radial.alpha`` and so on; but its
        position, shape, scale and amplitude are the bridge's, and those in the unit of the image are relative.
    parallel : Radial, optional
        The profile g of the distance z along the major axis, likewise.
    positive : bool, optional
        Give models in which it is negative anywhere no probability.
    **values : number, Prior, Tie or callable
        Values of the parameters, those of the profiles as ``**{"radial.beta": 0.6}``.
    """

    xc = param("deg", "RA, or offset to the east in a pixel frame", period_on_sky=360.0)
    yc = param("deg", "Dec, or offset to the north in a pixel frame")
    rs = param("deg", "scale along the major axis; across it, rs (1 - e)", lower=0.0)
    Is = param("image", "brightness, where both profiles are one")
    theta = param("rad", "position angle of the major axis, from north through east", 0.0, period=math.pi)
    e = param("", "ellipticity, 1 - b/a", 0.5, lower=0.0, upper=1 - 1e-6, open_ends=(1.0,), usual=(0.0, 0.95))

    def __init__(
        self, radial: Radial | None = None, parallel: Radial | None = None, positive: bool | None = None, **values: Any
    ) -> None:
        super().__init__(positive)
        defaults = self.default_profiles()
        for name, given, default in (("radial", radial, defaults[0]), ("parallel", parallel, defaults[1])):
            part = default if given is None else given
            if not isinstance(part, Radial):
                raise ModelError(f"{type(self).__name__}: {name} must be a radial profile, got {part!r}")
            exposed = exposed_parameters(part)
            self._add_part(name, part, exposed)
            for key in exposed:
                if part.fields[key].unit == "image":
                    self.fields[f"{name}.{key}"] = replace(part.fields[key], unit="")
        self.structure()
        self._assign(values)

    @staticmethod
    @abstractmethod
    def default_profiles() -> tuple[Radial, Radial]:
        """Return the profiles across and along the major axis where none are given."""

    @property
    def radial(self) -> Radial:
        """The profile across the major axis."""
        return self._parts["radial"]

    @property
    def parallel(self) -> Radial:
        """The profile along the major axis."""
        return self._parts["parallel"]

    def structure(self) -> tuple[Half, Half]:
        """Return what is static about the profiles."""
        halves = []
        for name, part in self._parts.items():
            exposed = exposed_parameters(part)
            for key, value in part.values.items():
                if key not in exposed and value != part.fields[key].default:
                    raise ModelError(
                        f"{type(self).__name__}: {name}.{key} cannot be set; position, shape, scale and amplitude are "
                        "the bridge's own"
                    )
            halves.append(Half(part.spec(), exposed, *part.scale_and_amplitude()))
        return halves[0], halves[1]

    @classmethod
    def smooth(cls, spec: Spec) -> bool:
        """Tell whether neither profile has an edge."""
        halves: tuple[Half, Half] = spec.structure  # type: ignore[assignment]
        return all(half.profile.kind.smooth(half.profile) for half in halves)

    @classmethod
    def isophote_shape(cls, values: dict[str, Any], spec: Spec) -> tuple[Array, Array]:
        """Return position angle (rad) and, roughly, axis ratio of the isophotes."""
        return values["theta"], 1 - values["e"]

    @classmethod
    def brightness(cls, dx: Array, dy: Array, values: dict[str, Any], spec: Spec, cell: Array) -> Array:
        """Return the brightness at an offset from the centre; see `Extended.brightness`."""
        axes = along_axes(values["theta"])
        halves: tuple[Half, Half] = spec.structure  # type: ignore[assignment]
        scales = values["rs"] * (1 - values["e"]), values["rs"]
        coordinates: list[Callable[[Array, Array], Array]] = [
            lambda dx, dy: axes(dx, dy)[1],
            lambda dx, dy: axes(dx, dy)[0],
        ]
        profiles: list[Any] = []
        share: Any = 1.0
        for name, half, scale, coordinate in zip(("radial", "parallel"), halves, scales, coordinates, strict=True):
            own = {key: values[f"{name}.{key}"] for key in half.exposed}
            own |= {half.scale: scale, half.amplitude: jnp.ones_like(scale)}
            at, kind = coordinate(dx, dy), half.profile.kind
            # The floor keeps the values and derivatives of a profile that diverges at zero finite.
            profiles.append(kind.full_profile(jnp.sqrt(at**2 + (3e-4 * scale) ** 2), own, half.profile))
            if kind.edge is not None:
                steps = slopes(coordinate, dx, dy, cell)
                # Between the edge on one side and that on the other.
                both = covered(own[kind.edge] - at, *steps) + covered(own[kind.edge] + at, *steps)
                share = jnp.maximum(both - 1, 0.0) * share
        return values["Is"] * cls.combined(profiles[0], profiles[1]) * share

    @staticmethod
    @abstractmethod
    def combined(f: Array, g: Array) -> Array:
        """Return the shape of the bridge from the values of both profiles."""


class SimpleBridge(Bridge):
    """Bridge of two independent profiles, ``Is f(r) g(z)``, by default a `Beta` profile across and a `TopHat` along."""

    @staticmethod
    def default_profiles() -> tuple[Radial, Radial]:
        """Return the profiles across and along the major axis where none are given."""
        return Beta(), TopHat()

    @staticmethod
    def combined(f: Array, g: Array) -> Array:
        """Return ``f g``."""
        return f * g


class MesaBridge(Bridge):
    """Bridge with a flat top, ``Is / (1/f(r) + 1/g(z))``, by default of `Beta` (8, 1) across and `Power` (8) along."""

    @staticmethod
    def default_profiles() -> tuple[Radial, Radial]:
        """Return the profiles across and along the major axis where none are given."""
        return Beta(alpha=8.0, beta=1.0), Power(alpha=8.0)

    @staticmethod
    def combined(f: Array, g: Array) -> Array:
        """Return ``1 / (1/f + 1/g)``, also where one of them is zero or far too large to be multiplied."""
        low, high = jnp.minimum(f, g), jnp.maximum(f, g)
        return low / (1 + low / jnp.where(high > 0, high, 1.0))


def exposed_parameters(profile: Radial) -> tuple[str, ...]:
    """Return the parameters of a profile that are left to a bridge's user: no geometry, scale or amplitude."""
    taken = (*Radial.fields, *profile.scale_and_amplitude())
    return tuple(name for name in profile.fields if name not in taken)
