"""Sources of elliptical (or boxy) isophotes, whose brightness depends on one radius."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from socca.errors import ModelError
from socca.models.base import Extended
from socca.models.radial.growth import growth
from socca.models.radial.truncation import Truncation, as_truncation
from socca.parameters.parameterised import Spec, param
from socca.parameters.ties import EqualTo, Tie
from socca.priors.affine import affine
from socca.priors.base import Prior
from socca.utils.lazy import jax, jnp, special
from socca.utils.tags import tagged

if TYPE_CHECKING:
    from socca.utils.array_types import Array


@tagged("spec/RadialStructure")
class RadialStructure(NamedTuple):
    """What is static about a radial source, besides its parameters.

    Attributes
    ----------
    truncation : type or None
        What cuts it off.
    arguments : tuple of str
        The parameters that the profile takes.
    profile : hashable
        The profile itself, where it is not the class's.
    """

    truncation: type[Truncation] | None
    arguments: tuple[str, ...]
    profile: Hashable = None


class Alternative(NamedTuple):
    """Another way to give a parameter: the parameter is ``scale x + offset``.

    Attributes
    ----------
    parameter : str
        The parameter.
    scale, offset : float
        Of the function.
    unit, description : str
        Of the alternative; ``deg`` for degrees.
    """

    parameter: str
    scale: float
    offset: float
    unit: str
    description: str


class Radial(Extended, abstract=True):
    """A source of elliptical isophotes around ``xc, yc``.

    Parameters
    ----------
    truncation : bool, str or Truncation, optional
        Cut the profile off smoothly: one of `socca.models.radial.truncation` (the class, or an instance, which gives
        values too), its name, or True for `HyperTangent`. Adds the parameters ``rt`` and ``wt``. It may also be
        assigned later; None takes it away.
    positive : bool, optional
        Give models in which this component is negative anywhere no probability.
    **values : number, Prior, Tie or callable
        Values of the parameters.

    Notes
    -----
    ``Sersic.profile(r, Ie, re, ns)``, and so on, is the profile itself, without the truncation: a static method that
    takes numbers, lists and arrays (`r` and lengths in one unit of your choice), and arrays that JAX traces.
    """

    xc = param("deg", "RA, or offset to the east in a pixel frame", period_on_sky=360.0)
    yc = param("deg", "Dec, or offset to the north in a pixel frame")
    theta = param("rad", "position angle of the major axis, from north through east", 0.0, period=math.pi)
    e = param("", "ellipticity, 1 - b/a", 0.0, lower=0.0, upper=1 - 1e-6, open_ends=(1.0,), usual=(0.0, 0.95))
    cbox = param(
        "", "boxiness: 0 elliptical, > 0 boxy, < 0 disky", 0.0, lower=-2 + 1e-6, neutral=0.0, open_ends=(-2.0,)
    )

    #: Names that may be given in the place of a parameter, with its value, or a prior.
    alternatives: ClassVar[dict[str, Alternative]] = {
        "q": Alternative("e", -1.0, 1.0, "", "axis ratio, b/a, in the place of e"),
        "pa": Alternative("theta", math.pi / 180, 0.0, "deg", "position angle in degrees, in the place of theta"),
    }
    #: ``profile(r, **parameters)``: the brightness at elliptical radius `r` (degrees, along the major axis). In the
    #: library it takes traced arrays alone; `socca.models.numbers.for_numbers` is for users.
    profile: ClassVar[Callable[..., Any]]
    #: The parameter, if any, at whose radius the profile falls to nothing at once.
    edge: ClassVar[str | None] = None

    def __init__(
        self,
        truncation: bool | str | Truncation | type[Truncation] | None = None,
        positive: bool | None = None,
        **values: Any,
    ) -> None:
        super().__init__(positive)
        self.__dict__["truncation"] = None
        if isinstance(truncation, Truncation):
            for name in truncation.values.keys() & values.keys():
                raise ModelError(f"{type(self).__name__}: {name} is given twice, to the truncation and to the profile")
        self._truncate(truncation)
        for name, other in self.alternatives.items():
            if name in values and name not in self.fields and other.parameter in values:
                raise ModelError(f"{type(self).__name__}: give {name} or {other.parameter}, not both")
        self._assign(values)

    def _assign(self, values: dict[str, Any]) -> None:
        apart = {name: value for name, value in values.items() if name in self._alternatives()}
        super()._assign({name: value for name, value in values.items() if name not in apart})
        for name, value in apart.items():
            setattr(self, name, value)

    def _alternatives(self) -> dict[str, Alternative]:
        """Return the alternatives that are not the names of parameters that it has."""
        return {name: other for name, other in self.alternatives.items() if name not in self.fields}

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "truncation":
            self._truncate(value)
        elif name in self._alternatives():
            self._set_alternative(name, value)
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in type(self).alternatives and name not in self.__dict__.get("fields", {name: None}):
            other = self.alternatives[name]
            value = getattr(self, other.parameter)
            scale, offset = 1 / other.scale, -other.offset / other.scale
            if isinstance(value, float):
                return scale * value + offset
            if isinstance(value, Prior):
                return affine(value, scale, offset)
            raise AttributeError(f"{type(self).__name__}: {other.parameter} is tied, and {name} has no value")
        return super().__getattr__(name)

    def _set_alternative(self, name: str, value: Any) -> None:
        """Set a parameter by its alternative."""
        other = self.alternatives[name]
        prior = self.as_prior(value)
        if prior is not None:
            value = affine(prior, other.scale, other.offset)
        elif isinstance(value, Tie | EqualTo) or callable(value):
            raise ModelError(f"{type(self).__name__}: {name} cannot be tied: tie {other.parameter}")
        else:
            value = other.scale * self._number(name, value) + other.offset
        try:
            setattr(self, other.parameter, value)
        except ModelError as error:
            raise ModelError(f"{error} (given as {name})") from None

    def _number(self, name: str, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ModelError(
                f"{type(self).__name__}: {name}: expected a number or a prior, got {type(value).__name__}"
            ) from None

    def _truncate(self, wanted: bool | str | Truncation | type[Truncation] | None) -> None:
        cut, names = as_truncation(wanted), Truncation.fields
        if (cut is None) != (self.truncation is None):
            if self._part_of is not None:
                raise ModelError(
                    f"this {type(self).__name__} is {self._part_of}, which knows its parameters already: give it its "
                    "truncation before"
                )
            if cut is None:
                for name in names:
                    del self.fields[name], self._values[name]
                self._removed[:] = [name for name in self._removed if name not in names]
            else:
                for name in names.keys() & self.fields.keys():
                    raise ModelError(
                        f"{type(self).__name__} has a parameter {name!r} of its own, and cannot be truncated"
                    )
                self._extend(names)
        self.__dict__["truncation"] = cut
        if isinstance(wanted, Truncation):
            self._assign(wanted.values)

    @property
    def truncation(self) -> type[Truncation] | None:
        """What cuts it off."""
        return self.__dict__["truncation"]

    def structure(self) -> RadialStructure:
        """Return the truncation, and what the profile takes."""
        return RadialStructure(self.truncation, tuple(self.law_fields()))

    def law_fields(self) -> list[str]:
        """Return the names of the parameters that the profile itself takes."""
        return [name for name in type(self).fields if name not in Radial.fields]

    def scale_and_amplitude(self) -> tuple[str, str]:
        """Return the names of the profile's scale radius and amplitude: its first length and first intensity.

        Raises
        ------
        ModelError
            If it lacks one of them.
        """
        found = []
        for unit in ("deg", "image"):
            names = [name for name in self.law_fields() if self.fields[name].unit == unit]
            if not names:
                raise ModelError(f"{type(self).__name__} has no parameter in the unit {unit!r} to scale it by")
            found.append(names[0])
        return found[0], found[1]

    @classmethod
    def isophote_shape(cls, values: dict[str, Any], spec: Spec) -> tuple[Array, Array]:
        """Return position angle (rad) and axis ratio of the isophotes."""
        return values["theta"], 1 - values["e"]

    @classmethod
    def smooth(cls, spec: Spec) -> bool:
        """Tell whether the profile has no edge."""
        return cls.edge is None

    @classmethod
    def full_profile(cls, r: Array, values: dict[str, Any], spec: Spec) -> Array:
        """Return the brightness at radius `r` (degrees), the truncation included, but not an edge."""
        form: RadialStructure = spec.structure  # type: ignore[assignment]
        found = cls.evaluate(form, r, {name: values[name] for name in form.arguments})
        return found if form.truncation is None else found * form.truncation.factor(r, values["rt"], values["wt"])

    @classmethod
    def evaluate(cls, form: RadialStructure, r: Array, arguments: dict[str, Any]) -> Array:
        """Return the profile at radius `r` (degrees), without the truncation."""
        return cls.profile(r, **arguments)

    @classmethod
    def brightness(cls, dx: Array, dy: Array, values: dict[str, Any], spec: Spec, cell: Array) -> Array:
        """Return the brightness at an offset from the centre; see `Extended.brightness`."""
        radius = elliptical_radius(values, "cbox" in spec.neutral, cell)
        r = radius(dx, dy)
        found = cls.full_profile(r, values, spec)
        if cls.edge is not None:
            margin = values[cls.edge] - averaged(radius, dx, dy, cell)
            found = found * covered(margin, *slopes(radius, dx, dy, cell))
        return found

    @classmethod
    def quantities(cls, values: dict[str, Any], spec: Spec, pixel_area: Array) -> dict[str, Array]:
        """Return flux, radii and shape; see `Component.quantities`. Radii are those of the profile without PSF."""
        q, angle = 1 - values["e"], values["theta"]
        flattening = (1 - q) / (1 + q)
        shape = {
            "q": q,
            "pa": jnp.rad2deg(angle) % 180.0,
            "e1": flattening * jnp.cos(2 * angle),
            "e2": flattening * jnp.sin(2 * angle),
        }
        return {**cls.light(values, spec, pixel_area), **shape}

    @classmethod
    def light(cls, values: dict[str, Any], spec: Spec, pixel_area: Array) -> dict[str, Array]:
        """Return flux and radii, as `quantities`."""
        form: RadialStructure = spec.structure  # type: ignore[assignment]
        lengths = [name for name, field in spec.fields if field.unit == "deg" and name in form.arguments]
        scale = values[lengths[0]] if lengths else jnp.sqrt(pixel_area)
        cut = None if form.truncation is None else (values["rt"], values["wt"])
        edge = None if cls.edge is None else values[cls.edge]
        found = growth(lambda r: cls.full_profile(r, values, spec), scale, cut, edge)
        area = superellipse_area(1 - values["e"], None if "cbox" in spec.neutral else values["cbox"])
        flux = 2 * area * found.total / pixel_area
        r20, r50, r80, r90 = (found.radius(share) for share in (0.2, 0.5, 0.8, 0.9))
        return {
            "flux": flux,
            "r50": r50,
            "r50_circ": r50 * jnp.sqrt(area / math.pi),
            "r20": r20,
            "r80": r80,
            "r90": r90,
            "concentration": 5 * jnp.log10(r80 / r20),
            "petrosian": found.petrosian(),
            "sb_r50": jnp.where(jnp.isfinite(r50), cls.full_profile(r50[None], values, spec)[0], jnp.nan),
            "sb_within_r50": 0.5 * flux * pixel_area / (area * r50**2),
        }


def superellipse_area(q: Array, cbox: Array | None) -> Array:
    """Return the area of an isophote of semi-major axis one: ``4 q Gamma(1 + 1/c)^2 / Gamma(1 + 2/c)``, c = 2 + cbox.

    Parameters
    ----------
    q : scalar
        Axis ratio.
    cbox : scalar or None
        Boxiness; None for an ellipse.
    """
    if cbox is None:
        return math.pi * q
    c = 2 + cbox
    return 4 * q * jnp.exp(2 * special.gammaln(1 + 1 / c) - special.gammaln(1 + 2 / c))


@tagged("function/along_axes")
def along_axes(theta: Array) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Return the function from offsets (degrees east and north) to those along the major and the minor axis."""
    sin, cos = jnp.sin(theta), jnp.cos(theta)
    return lambda dx, dy: (dx * sin + dy * cos, dx * cos - dy * sin)


@tagged("function/superellipse")
def superellipse(values: dict[str, Any], elliptical: bool, cell: Array) -> Callable[[Array, Array], Array]:
    """Return the function from offsets along the axes to the radius along the major one.

    Parameters
    ----------
    values : dict
        ``e`` and ``cbox``.
    elliptical : bool
        Whether the boxiness is fixed at zero.
    cell : array, shape (2, 2) or (2, 2, n)
        See `Extended.brightness`.

    Returns
    -------
    callable
        ``r = (|x'|^c + |y'/(1-e)|^c)^(1/c)`` with ``c = 2 + cbox``.
    """
    stretch = 1 / (1 - values["e"])
    # A floor of a millionth of a pixel: the gradient at the very centre stays finite.
    tiny = 1e-12 * jnp.abs(cell[0, 0] * cell[1, 1] - cell[0, 1] * cell[1, 0])

    def radius(major: Array, minor: Array) -> Array:
        minor = minor * stretch
        if elliptical:
            return jnp.sqrt(major**2 + minor**2 + tiny)
        power = 2 + values["cbox"]
        return ((major**2 + tiny) ** (power / 2) + (minor**2 + tiny) ** (power / 2)) ** (1 / power)

    return radius


@tagged("function/elliptical_radius")
def elliptical_radius(values: dict[str, Any], elliptical: bool, cell: Array) -> Callable[[Array, Array], Array]:
    """Return the function from offsets (degrees east and north) to the radius along the major axis.

    Parameters
    ----------
    values : dict
        ``theta``, ``e`` and ``cbox``.
    elliptical : bool
        Whether the boxiness is fixed at zero.
    cell : array, shape (2, 2) or (2, 2, n)
        See `Extended.brightness`.

    Returns
    -------
    callable
        See `superellipse`.
    """
    axes, radius = along_axes(values["theta"]), superellipse(values, elliptical, cell)
    return lambda dx, dy: radius(*axes(dx, dy))


@tagged("function/slopes")
def slopes(function: Callable[[Array, Array], Array], dx: Array, dy: Array, cell: Array) -> tuple[Array, Array]:
    """Return how much a function of position changes along either side of a cell.

    Parameters
    ----------
    function : callable
        Of offsets (degrees east and north).
    dx, dy : array
        Where.
    cell : array, shape (2, 2)
        The cell's sides, as columns.

    Returns
    -------
    along_row, along_column : array
        In the unit of the function.
    """
    sides = [(jnp.broadcast_to(cell[0, k], dx.shape), jnp.broadcast_to(cell[1, k], dy.shape)) for k in (0, 1)]
    return tuple(jax.jvp(function, (dx, dy), side)[1] for side in sides)


@tagged("function/averaged")
def averaged(function: Callable[[Array, Array], Array], dx: Array, dy: Array, cell: Array) -> Array:
    """Return the mean of a function of position over cells, exact for polynomials of third degree.

    Of a radius, the value at the centre would make a cell reach too far across an edge that curves around it.

    Parameters
    ----------
    function : callable
        Of offsets (degrees east and north).
    dx, dy : array
        Centres of the cells.
    cell : array, shape (2, 2) or (2, 2, n)
        The cell's sides, as columns.
    """
    node = math.sqrt(1 / 12)
    total: Any = 0.0
    for row, col in ((-node, -node), (-node, node), (node, -node), (node, node)):
        total = total + function(dx + row * cell[0, 0] + col * cell[0, 1], dy + row * cell[1, 0] + col * cell[1, 1])
    return total / 4


@tagged("function/covered")
def covered(margin: Array, a: Array, b: Array) -> Array:
    """Return the share of a cell on the near side of a straight edge.

    Parameters
    ----------
    margin : array
        Of the cell's centre to the edge; positive inside.
    a, b : array
        Change of the margin along the cell's two sides.

    Returns
    -------
    array
        0 to 1: the distribution function of the sum of two uniform variables of widths ``|a|`` and ``|b|``.
    """
    a, b = jnp.abs(a), jnp.abs(b)
    # An edge along a side would divide by zero; a thousandth of a turn away nothing is noticed.
    floor = 1e-3 * jnp.maximum(a, b) + 1e-15
    a, b = jnp.maximum(a, floor), jnp.maximum(b, floor)
    far, near = (a + b) / 2, jnp.abs(a - b) / 2
    margin = jnp.clip(margin, -far, far)

    def half(x: Array) -> Array:
        return jnp.maximum(x, 0.0) ** 2

    ramps = half(margin + far) - half(margin + near) - half(margin - near) + half(margin - far)
    return jnp.clip(ramps / (2 * a * b), 0.0, 1.0)  # beyond the cell, rounding is all that is left
