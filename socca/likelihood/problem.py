"""Compiled problem: likelihood and prior as pure functions of a vector, for one image and one model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from socca.errors import ConfigError, ModelError
from socca.likelihood.compiled import ProblemSpec, in_batches, programs
from socca.likelihood.grid import grid_shape
from socca.likelihood.parameter_vector import compile_model
from socca.likelihood.positions import check_positions
from socca.likelihood.quadrature import ranking
from socca.likelihood.render import SceneSpec, padded, scene_arrays
from socca.likelihood.revision import LIKELIHOOD_REVISION
from socca.models.base import Extended
from socca.models.rendered import Rendered
from socca.noise import NoiseModel
from socca.utils.digest import digest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from socca.data.image import Image
    from socca.models.drawing import ModelLike


class Problem:
    """Image, model and noise model, frozen and compiled; a `LogDensity` of the free parameters.

    Later changes to any of the three are not seen: build a new problem.

    Parameters
    ----------
    image : Image
        The data.
    model : ModelLike
        The model.
    noise : NoiseModel, optional
        By default the image's own.
    buckets : bool
        Enlarge the image by masked pixels to one of a few sizes, so that images of many sizes share compiled programs;
        not for noise models that correlate pixels.
    precision : {'float64', 'float32'}
        Of what is computed per pixel. Parameters, positions and the sum over pixels are in double precision always.
    to_fit : bool
        Whether the model is fitted to the image, and not only drawn on its frame: then priors of positions must not
        reach behind the observer.

    Attributes
    ----------
    names : list of str
        Full names of the free parameters (``comp_00_re``).
    labels : list of str
        The user's names for them (``bulge.re``).
    units : list of str
        Their units; ``image`` stands for the unit of the image.
    ndim : int
        How many there are.

    Raises
    ------
    ModelError
        If the model is empty or incomplete, its ties are wrong, or the prior of a position reaches 90 degrees or more
        from the centre of the image.
    DataError
        If the noise does not fit the image, or no pixel can be used.
    """

    def __init__(
        self,
        image: Image,
        model: ModelLike,
        noise: NoiseModel | None = None,
        *,
        buckets: bool = False,
        precision: str = "float64",
        to_fit: bool = True,
    ) -> None:
        if not model.components:
            raise ModelError("the model has no component")
        if precision not in ("float64", "float32"):
            raise ConfigError(f"precision must be float64 or float32, not {precision!r}")
        noise = image.noise if noise is None else noise
        image.check_mask()
        noise.check_components(model.components)
        noise.id = "noise"
        if to_fit:
            check_positions(image.frame, model.components)
        model_spec, model_arrays = compile_model([*model.components, noise])
        psf_shape = None if image.psf is None else (image.psf.shape[0], image.psf.shape[1])
        grid = grid_shape(
            image.shape,
            psf_shape,
            image.psf_oversample,
            image.subgrid,
            buckets and noise.padded,
            image.psf_includes_pixel,
        )
        scene = SceneSpec(model_spec.parts[:-1], grid, image.frame.on_sky, noise.needs_sky)
        self.spec = ProblemSpec(model_spec, scene)
        self.shape = image.shape
        self.arrays: dict[str, Any] = {
            "model": model_arrays,
            "scene": _in_precision(scene_arrays(image, grid), precision),
            "noise": jax.tree.map(
                lambda value: padded(value, grid.image) if np.shape(value) == image.shape else value,
                noise.with_epsilon(noise.prepare(image), float(np.finfo(precision).eps)),
            ),
        }
        #: Which pixels are used, of the image as it was enlarged.
        self.used = padded(image.mask > 0, grid.image)
        fields = dict(zip(model_spec.names, model_spec.fields(), strict=True))
        labels = model.labels | {f"noise_{name}": f"noise.{name}" for name in noise.fields}
        self.names = [model_spec.names[i] for i in model_spec.free]
        self.labels = [labels[name] for name in self.names]
        self.units = [fields[name].shown_unit for name in self.names]
        self.all_labels = labels
        self.all_units = {name: field.shown_unit for name, field in fields.items()}
        #: Period of each parameter, None where it is no angle.
        self.all_periods = {
            name: field.period_on_sky if image.frame.on_sky and field.period is None else field.period
            for name, field in fields.items()
        }
        self.periods = [self.all_periods[name] for name in self.names]
        values = model.priors | {f"noise_{name}": value for name, value in noise.values.items()}
        self.priors = [values[name] for name in self.names]

    @property
    def ndim(self) -> int:
        """Number of free parameters."""
        return len(self.names)

    @property
    def n_data(self) -> int:
        """Number of pixels (of modes, for noise in Fourier space) that the model is compared with."""
        return int(self.arrays["noise"].n_data)

    @property
    def component_labels(self) -> list[str]:
        """The user's names of the components."""
        found = []
        for number, part in enumerate(self.spec.scene.components):
            first = part.fields[0][0]
            found.append(self.all_labels[f"comp_{number:02d}_{first}"].removesuffix(first)[:-1])
        return found

    @property
    def ellipses(self) -> list[tuple[int, int]]:
        """Which parameters are position angle and ellipticity of one source, and free down to a round one."""
        places = {name: k for k, name in enumerate(self.names)}
        found = []
        for number, component in enumerate(self.spec.scene.components):
            if not issubclass(component.kind, Extended):
                continue
            angle, ellipticity = (places.get(f"comp_{number:02d}_{name}") for name in component.kind.ellipse_names)
            if angle is None or ellipticity is None or self.priors[ellipticity].support[0] != 0:
                continue
            if self.priors[angle].is_flat_over(self.periods[angle]):
                found.append((angle, ellipticity))
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "on_device"}

    @functools.cached_property
    def on_device(self) -> dict[str, Any]:
        """The arrays that programs take, where JAX computes."""
        with jax.enable_x64(True):
            scene = {**self.arrays["scene"], "ranking": ranking()}
            return jax.device_put({**self.arrays, "scene": scene})

    def _batched(self, program: Any, arrays: dict[str, Any], rows: ArrayLike, what: str) -> Any:
        with jax.enable_x64(True):
            return in_batches(functools.partial(program, arrays), rows, self.ndim, what)

    def log_likelihood(self, theta: ArrayLike) -> np.ndarray:
        """Return the log-likelihood of each row.

        Parameters
        ----------
        theta : array_like, shape (n, ndim)
            Free parameters, in the order of `names`.

        Returns
        -------
        ndarray, shape (n,)
            Fully normalised; -inf where the model is impossible.
        """
        return self._batched(programs(self.spec).log_likelihood, self.on_device, theta, "log_likelihood")

    def log_likelihood_and_grad(self, theta: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-likelihood of each row and its derivatives.

        Parameters
        ----------
        theta : array_like, shape (n, ndim)
            Free parameters.

        Returns
        -------
        value : ndarray, shape (n,)
            The log-likelihood.
        gradient : ndarray, shape (n, ndim)
            Per unit of each parameter.
        """
        return self._batched(
            programs(self.spec).log_likelihood_and_grad, self.on_device, theta, "log_likelihood_and_grad"
        )

    @property
    def has_information(self) -> bool:
        """Whether there is a Fisher information: for Gaussian noise."""
        return bool(self.spec.noise.kind.gaussian)

    def log_likelihood_and_information(self, theta: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the log-likelihood of each row, its derivatives, and the Fisher information of the mean.

        Parameters
        ----------
        theta : array_like, shape (n, ndim)
            Free parameters.

        Returns
        -------
        value : ndarray, shape (n,)
            The log-likelihood.
        gradient : ndarray, shape (n, ndim)
            Per unit of each parameter.
        information : ndarray, shape (n, ndim, ndim)
            The Jacobian of the whitened residual, times itself.
        """
        return self._batched(programs(self.spec).information, self.on_device, theta, "log_likelihood_and_information")

    def traced(self) -> tuple[Callable[[Any, Any], Any], dict[str, Any]]:
        """Return the log posterior density of one row, for JAX to trace, and the arrays that it takes first.

        Problems of the same structure share the function.
        """
        return programs(self.spec).log_posterior, self.on_device

    def log_prior(self, theta: ArrayLike) -> np.ndarray:
        """Return the log of the joint prior density of each row, shape (n,)."""
        return self._batched(programs(self.spec).log_prior, self.on_device["model"], theta, "log_prior")

    def prior_transform(self, u: ArrayLike) -> np.ndarray:
        """Map points of the unit cube to parameters, shape (n, ndim) to (n, ndim)."""
        return self._batched(programs(self.spec).transform, self.on_device["model"], u, "prior_transform")

    def values(self, theta: ArrayLike) -> dict[str, np.ndarray]:
        """Return every parameter, free, fixed and tied.

        Parameters
        ----------
        theta : array_like, shape (n, ndim)
            Free parameters.

        Returns
        -------
        dict of ndarray, shape (n,)
            By full name.
        """
        return self._batched(programs(self.spec).values, self.on_device["model"], theta, "values")

    def render(
        self,
        theta: ArrayLike,
        only: tuple[int, ...] | None = None,
        response: bool = True,
        exposure: bool = True,
        raw: bool = True,
    ) -> Rendered:
        """Draw the model.

        Parameters
        ----------
        theta : array_like, shape (ndim,)
            Free parameters.
        only : tuple of int, optional
            Numbers of the components to draw; by default all.
        response, exposure : bool
            Whether to multiply by them, where the image has them.
        raw : bool
            Whether the unconvolved image is wanted, which costs as much again; otherwise it may be None.

        Returns
        -------
        Rendered
            Arrays of the shape of the image.
        """
        theta = np.asarray(theta, dtype=np.float64)
        if theta.shape != (self.ndim,):
            raise ModelError(f"render: expected shape ({self.ndim},), got {theta.shape}")
        keep = self.selected(only)
        with jax.enable_x64(True):
            out = programs(self.spec).render(self.on_device, theta, keep, response, exposure, raw)
        return jax.tree.map(lambda part: self._cropped(np.asarray(part)), out)

    def selected(self, only: tuple[int, ...] | None) -> np.ndarray:
        """Return 1 for each component of these numbers, or for all, and 0 for the others."""
        components = np.arange(len(self.spec.scene.components))
        return np.ones(len(components)) if only is None else np.isin(components, only).astype(float)

    def _cropped(self, plane: np.ndarray) -> np.ndarray:
        """Return the image's own pixels of a plane that was enlarged; anything else as it is."""
        return plane[: self.shape[0], : self.shape[1]] if plane.shape == self.spec.scene.grid.image else plane

    def predict(self, theta: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the data, the noise's own parameters included.

        Parameters
        ----------
        theta : array_like, shape (ndim,)
            Free parameters.

        Returns
        -------
        expected : ndarray, shape (ny, nx)
            What the data are compared with.
        sigma : ndarray, shape (ny, nx)
            Their scatter about it; inf where a pixel is not used.
        """
        noise = self.spec.noise
        values = self.values(theta)
        own = {name: float(values[f"noise_{name}"][0]) for name, _ in noise.fields}
        arrays = jax.tree.map(lambda value: self._cropped(np.asarray(value)), self.arrays["noise"])
        drawn = self.render(theta, raw=self.spec.noise.kind.needs_sky)
        return noise.kind.expected(drawn, own), noise.kind.sigma_at(drawn, arrays, own)

    def digest(self) -> str:
        """Return a SHA-256 over all that defines the problem: equal digests, equal posteriors, in every process."""
        return digest(("likelihood revision", LIKELIHOOD_REVISION), self.spec, self.shape, self.arrays)


def _in_precision(arrays: dict[str, Any], precision: str) -> dict[str, Any]:
    """Cast what is computed with per pixel; positions and the derivatives of the grid stay in double precision."""
    if precision == "float64":
        return arrays
    kinds = {"x": np.float32, "y": np.float32, "response": np.float32, "exposure": np.float32, "psf": np.complex64}

    def cast(path: Any, value: np.ndarray) -> np.ndarray:
        return value.astype(kinds.get(path[0].key, value.dtype))

    return jax.tree_util.tree_map_with_path(cast, arrays)
