"""Ties that are written where a prior would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from socca.errors import ModelError, nearest
from socca.expressions import Node

if TYPE_CHECKING:
    from socca.parametrised import Parametrised, Tie


def boundto(comp: Parametrised, var: str) -> Tie:
    """Tie a parameter to be equal to another component's.

    Parameters
    ----------
    comp : Parametrised
        A component that is already part of a model, or a part of one, such as the radial law of a disk.
    var : str
        Its parameter.

    Returns
    -------
    Tie
        The value to assign.

    Raises
    ------
    ModelError
        If the component is in no model yet, or has no such parameter.
    """
    from socca.parametrised import Tie  # which knows priors

    if comp.id is None:
        raise ModelError("boundto: add the component to a model first")
    if var not in comp.fields:
        raise ModelError(f"boundto: {type(comp).__name__} has no parameter {var!r}{nearest(var, comp.fields)}")
    name = f"{comp.id}_{var}"
    return Tie((name,), Node("name", name))
