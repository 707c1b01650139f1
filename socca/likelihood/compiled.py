"""The compiled functions of a problem, shared by all problems of the same structure.

What is static (sizes, components, families of priors, the noise model) makes up a `ProblemSpec`; equal specs share
their compiled programs. All that may differ between targets of a survey (data, noise, mask, PSF, coordinates, fixed
values, numbers in priors and ties) is an argument of these programs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from socca.errors import ModelError
from socca.likelihood.parameter_vector import ModelSpec, all_values, log_prior, out_of_range, transform
from socca.likelihood.render import SceneSpec, render
from socca.models.rendered import Rendered
from socca.parameters.parameterised import Spec
from socca.utils.tags import tagged

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from socca.utils.array_types import Array

#: Rows of the one batch that programs are compiled for. Of a shorter batch only its own rows are computed.
BATCH = 256


@tagged("spec/ProblemSpec")
@dataclass(frozen=True)
class ProblemSpec:
    """Static part of a problem.

    Parameters
    ----------
    model : ModelSpec
        Parameters, ties and priors.
    scene : SceneSpec
        What is drawn and where.
    """

    model: ModelSpec
    scene: SceneSpec

    @property
    def noise(self) -> Spec:
        """The static part of the noise."""
        return self.model.parts[-1]


def looped(function: Any) -> Any:
    """Compile a function of the arrays and one row for the first `count` rows of a batch.

    Row by row: on a CPU, the images of several rows would no longer fit its cache together.
    """
    function = jax.jit(function, inline=True)  # which is traced once, for its shapes and for the loop

    def batched(arrays: dict[str, Any], theta: Array, count: Any) -> Any:
        shapes = jax.eval_shape(function, arrays, theta[0])
        out = jax.tree.map(lambda s: jnp.zeros((len(theta), *s.shape), s.dtype), shapes)

        def step(i: Any, out: Any) -> Any:
            return jax.tree.map(lambda rows, row: rows.at[i].set(row), out, function(arrays, theta[i]))

        return jax.lax.fori_loop(0, count, step, out)

    return jax.jit(batched)


def draw(
    spec: ProblemSpec, arrays: dict[str, Any], theta: Array | Sequence[Array], only: tuple[int, ...] | None = None
) -> tuple[Rendered, dict[str, Any], Array]:
    """Draw the model, in the form that noise models take.

    Parameters
    ----------
    spec : ProblemSpec
        What is static.
    arrays : dict
        Of the problem.
    theta : array or sequence of arrays, shape (ndim,)
        Free parameters.
    only : tuple of int, optional
        Numbers of the components that are drawn; by default all.

    Returns
    -------
    drawn : Rendered
        In double precision.
    values : dict
        The noise's own parameters.
    impossible : bool array, shape ()
        Whether the model has no meaning.
    """
    values = all_values(spec.model, arrays["model"], theta)
    drawn = render(spec.scene, arrays["scene"], values, raw=False, only=only)
    drawn = jax.tree.map(lambda part: part if part.dtype == bool else part.astype(float), drawn)
    own = {name: values[f"noise_{name}"] for name, _ in spec.noise.fields}
    return drawn, own, drawn.negative | out_of_range(spec.model, values)


class Programs:
    """The compiled functions of a spec. They take the arrays of a target first.

    Parameters
    ----------
    spec : ProblemSpec
        What is static.
    """

    def __init__(self, spec: ProblemSpec) -> None:
        model, scene = spec.model, spec.scene

        def one(arrays: dict[str, Any], theta: Array) -> Array:
            drawn, own, impossible = draw(spec, arrays, theta)
            found = spec.noise.kind.log_likelihood(drawn, arrays["noise"], own, spec.noise)
            return jnp.where(impossible | jnp.isnan(found), -jnp.inf, found)

        #: Of the arrays and one row, not compiled.
        self.one = one
        self.log_posterior = lambda arrays, theta: one(arrays, theta) + log_prior(model, arrays["model"], theta)
        self.log_likelihood = looped(one)
        self.log_likelihood_and_grad = looped(jax.value_and_grad(one, argnums=1))
        self.information = looped(functools.partial(information_of, spec))
        # These take the arrays of the model alone: to hand over all of them would take as long as the rest.
        self.log_prior = jax.jit(lambda arrays, theta, count: log_prior(model, arrays, theta))
        self.transform = jax.jit(lambda arrays, u, count: transform(model, arrays, u))
        self.values = jax.jit(lambda arrays, theta, count: jax.vmap(lambda row: all_values(model, arrays, row))(theta))
        self.render = jax.jit(
            lambda arrays, theta, keep, response, exposure, raw: render(
                scene, arrays["scene"], all_values(model, arrays["model"], theta), keep, response, exposure, raw
            ),
            static_argnums=(3, 4, 5),
        )


def information_of(spec: ProblemSpec, arrays: dict[str, Any], theta: Array) -> tuple[Array, Array, Array]:
    """Return log-likelihood, gradient and Fisher information of one row, under Gaussian noise.

    Parameters
    ----------
    spec : ProblemSpec
        What is static.
    arrays : dict
        Of the problem.
    theta : array, shape (ndim,)
        Free parameters.

    Returns
    -------
    value, gradient, information : array, shapes (), (ndim,) and (ndim, ndim)
        All of it from one pass forward with a tangent for each parameter. The information is that of the mean, the
        product of the Jacobian of the whitened residual with itself.
    """
    noise = spec.noise

    def value_and_residual(theta: Array) -> Any:
        drawn, own, impossible = draw(spec, arrays, theta)
        value = noise.kind.log_likelihood(drawn, arrays["noise"], own, noise)
        residual = noise.kind.whiten(arrays["noise"].data - drawn.total, arrays["noise"], own, noise)
        value = jnp.where(impossible | jnp.isnan(value), -jnp.inf, value)
        return (value, residual.ravel()), value

    (gradient, slopes), value = jax.jacfwd(value_and_residual, has_aux=True)(theta)
    return value, gradient, slopes.T @ slopes


@functools.lru_cache(maxsize=256)
def programs(spec: ProblemSpec) -> Programs:
    """Return the compiled functions of a spec: the same ones for an equal spec."""
    return Programs(spec)


def in_batches(program: Any, rows: ArrayLike, ndim: int, what: str) -> Any:
    """Call a program, compiled for `BATCH` rows, on any number of rows.

    Parameters
    ----------
    program : callable
        Of an array of shape (BATCH, ndim) and the number of rows that count.
    rows : array_like, shape (n, ndim)
        The rows.
    ndim : int
        Expected.
    what : str
        Named in the error.

    Returns
    -------
    ndarray or tree of ndarray
        The first axis is that of the rows.

    Raises
    ------
    ModelError
        If the rows have another shape.
    """
    rows = np.atleast_2d(np.asarray(rows, dtype=np.float64))
    if rows.ndim != 2 or rows.shape[1] != ndim:
        raise ModelError(f"{what}: expected shape (n, {ndim}), got {rows.shape}")
    parts = []
    for start in range(0, max(len(rows), 1), BATCH):
        chunk = rows[start : start + BATCH]
        filled = np.zeros((BATCH, ndim))
        filled[: len(chunk)] = chunk
        parts.append(jax.tree.map(functools.partial(_first_rows, count=len(chunk)), program(filled, len(chunk))))
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *pieces: np.concatenate(pieces), *parts)


def _first_rows(array: Any, count: int) -> np.ndarray:
    return np.array(np.asarray(array)[:count])  # JAX's own memory cannot be written to
