"""A model: a list of components."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ModelError
from socca.models.base import Component
from socca.models.drawing import fixed_map, problem_to_draw
from socca.models.rendered import ModelImages
from socca.parameters.parameterised import shown
from socca.priors import Prior

if TYPE_CHECKING:
    from socca.data.image import Image


class Model:
    """A surface-brightness model.

    Parameters
    ----------
    prof : Component, optional
        Its first component.
    positive : bool, optional
        Rule out negative brightness of that component.

    Attributes
    ----------
    components : list of Component
        In the order in which they were added.
    """

    def __init__(self, prof: Component | None = None, positive: bool | None = None) -> None:
        self.components: list[Component] = []
        self._labels: dict[str, str] = {}
        if prof is not None:
            self.addcomponent(prof, positive=positive)

    def addcomponent(self, prof: Component, positive: bool | None = None, label: str | None = None) -> Component:
        """Add a component.

        Parameters
        ----------
        prof : Component
            The component; its `id` becomes ``comp_00`` and so on.
        positive : bool, optional
            Rule out negative brightness; by default what the component says itself.
        label : str, optional
            The user's name for it, shown as ``bulge.re`` instead of ``comp_00_re``.

        Returns
        -------
        Component
            `prof`.

        Raises
        ------
        ModelError
            If it is no component, or it or a part of it is part of this model already.
        """
        if not isinstance(prof, Component):
            raise ModelError(f"expected a component, got {type(prof).__name__}")
        present = {id(thing): thing.id for other in self.components for thing in (other, *other.parts.values())}
        for thing in (prof, *prof.parts.values()):
            if id(thing) in present:
                kind = type(thing).__name__
                raise ModelError(f"{present[id(thing)]} is part of this model already: add another {kind}")
        prof.id = f"comp_{len(self.components):02d}"
        if positive is not None:
            prof.positive = positive
        self.components.append(prof)
        self._labels[prof.id] = label or prof.id
        return prof

    @property
    def ncomp(self) -> int:
        """Number of components."""
        return len(self.components)

    @property
    def _values(self) -> dict[str, Any]:
        return {f"{c.id}_{name}": getattr(c, name) for c in self.components for name in c.parlist()}

    @property
    def params(self) -> list[str]:
        """Full names of all parameters."""
        return list(self._values)

    @property
    def labels(self) -> dict[str, str]:
        """Full name -> the user's name (``bulge.re``), or the full name where there is no label."""
        found: dict[str, str] = {}
        for component, label in zip(self.components, self.component_labels, strict=True):
            between = "_" if label == component.id else "."
            found |= {f"{component.id}_{name}": f"{label}{between}{name}" for name in component.fields}
        return found

    @property
    def component_labels(self) -> list[str]:
        """The user's name of each component, or its id where there is none."""
        return [self._labels[str(c.id)] for c in self.components]

    @property
    def priors(self) -> dict[str, Any]:
        """Full name -> value, prior or tie."""
        return self._values

    @property
    def paridx(self) -> list[int]:
        """Positions of the free parameters among `params`."""
        return [i for i, value in enumerate(self._values.values()) if isinstance(value, Prior)]

    @property
    def tied(self) -> list[bool]:
        """Whether each parameter is tied."""
        return [not isinstance(v, (float, Prior)) and v is not None for v in self._values.values()]

    @property
    def units(self) -> dict[str, str]:
        """Full name -> unit."""
        return {f"{c.id}_{name}": c.fields[name].shown_unit for c in self.components for name in c.parlist()}

    @property
    def positive(self) -> list[bool]:
        """Whether each component must be positive."""
        return [bool(c.positive) for c in self.components]

    @property
    def type(self) -> list[str]:
        """Kind of each component."""
        return [type(c).__name__ for c in self.components]

    def parameters(self, freeonly: bool = False) -> str:
        """Return a table of the parameters.

        Parameters
        ----------
        freeonly : bool
            Only those with a prior.

        Returns
        -------
        str
            One line each: name, value or prior, unit.
        """
        units = self.units
        rows = [
            f"{self.labels[name]:<20} {shown(name, value):<40} {units[name]}"
            for name, value in self._values.items()
            if isinstance(value, Prior) or not freeonly
        ]
        return "\n".join(rows)

    def getmodel(
        self,
        img: Image,
        pp: Any,
        doresp: bool = False,
        doexp: bool = False,
        component: str | int | Component | Sequence[str | int | Component] | None = None,
    ) -> ModelImages:
        """Draw the model on an image's frame.

        Parameters
        ----------
        img : Image
            The frame and the PSF.
        pp : array_like, shape (ndim,)
            The free parameters, in order.
        doresp, doexp : bool
            Multiply by the response, and by the exposure, of the image.
        component : str, int, Component or list of these, optional
            Draw only these: ``comp_00``, or the label; the number in the order of the model; or the component itself.

        Returns
        -------
        ModelImages
            ``(raw, smoothed, background, negative)``: extended light before the PSF; all sources through the PSF and
            the background; the background alone; and whether a component that must be positive is negative somewhere.
            See `socca.models.rendered.ModelImages`.

        Raises
        ------
        ModelError
            If the vector has another length, or a component is unknown.
        """
        drawn = problem_to_draw(self, img).render(np.asarray(pp, dtype=float), self.select(component), doresp, doexp)
        return ModelImages(np.asarray(drawn.raw), drawn.total, drawn.background, drawn.negative)

    def getmap(self, img: Image, convolve: bool | None = None, addbackground: bool = False) -> np.ndarray:
        """Draw a model without free parameters.

        Parameters
        ----------
        img : Image
            The frame and the PSF.
        convolve : bool, optional
            Convolve with the PSF; by default not.
        addbackground : bool
            Add the background.

        Returns
        -------
        ndarray, shape (ny, nx)
            The sum of the components' own `getmap`, those of the background only if asked. Not convolved, point sources
            are one pixel's worth of light, as without a PSF.
        """
        return fixed_map(self, img, bool(convolve), addbackground)

    def select(
        self, component: str | int | Component | Sequence[str | int | Component] | None
    ) -> tuple[int, ...] | None:
        """Return the numbers of components.

        Parameters
        ----------
        component : str, int, Component or sequence of these, optional
            Ids or labels, numbers, or the components themselves; None stands for all.

        Returns
        -------
        tuple of int or None
            Their numbers in the order of the model, or None for all.

        Raises
        ------
        ModelError
            If there is no such component.
        """
        if component is None:
            return None
        if isinstance(component, str | int | np.integer | Component):
            return (self._number_of(component),)
        if not isinstance(component, Iterable):
            raise ModelError(f"no component {component!r}: expected an id, a label, a number, a component, or a list")
        return tuple(self._number_of(wanted) for wanted in component)

    def _number_of(self, wanted: str | int | Component) -> int:
        known: dict[str, int] = {}
        for k, c in enumerate(self.components):
            if wanted is c:
                return k
            known[str(c.id)] = known[self._labels[str(c.id)]] = k
        if isinstance(wanted, str) and wanted in known:
            return known[wanted]
        if isinstance(wanted, int | np.integer) and not isinstance(wanted, bool) and -self.ncomp <= wanted < self.ncomp:
            return int(wanted) % self.ncomp
        shown = f"this {type(wanted).__name__}" if isinstance(wanted, Component) else repr(wanted)
        raise ModelError(f"no component {shown}; known: {', '.join(known)}, or 0 to {self.ncomp - 1}")
