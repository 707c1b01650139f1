"""Derivatives of every component's brightness and likelihood, against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from socca.likelihood.parameter_vector import all_values
from socca.likelihood.problem import Problem
from socca.models import REGISTRY, Model
from socca.noise import Normal
from socca.priors import uniform


def generic(kind, pixel):
    """Return a component of any kind, every parameter free, in ranges that its fields suggest."""
    options = {
        "CustomProfile": {"parameters": {"s": "deg", "top": "image", "k": ""}, "profile": "top * exp(-(r / s) ** k)"},
        "Disk": {"losbins": 16},
    }
    component = kind(**options.get(kind.__name__, {}))
    for k, (name, field) in enumerate(component.fields.items()):
        if name.split(".")[-1] in ("xc", "yc"):
            low, high = (0.1 + k) * pixel, (0.4 + k) * pixel
        elif field.unit == "deg":
            low, high = (2.0 + k / 10) * pixel, (3.5 + k / 10) * pixel
        elif field.unit == "image":
            low, high = 0.5 + k / 20, 1.5 + k / 20
        elif field.neutral is not None:
            low, high = field.neutral + 0.1, field.neutral + 0.4
        elif (kind.__name__, name) == ("Power", "alpha"):
            low, high = 0.8, 1.3  # steeper, and the central pixel would drown the rest
        elif np.isfinite(field.upper - field.lower):
            low, high = field.lower + np.array([0.2, 0.4]) * (field.upper - field.lower)
        elif field.default:
            low, high = sorted((0.9 * field.default, 1.2 * field.default))
        else:
            low, high = 0.3, 0.9
        setattr(component, name, uniform(low, high))
    return component


def test_registry_holds_what_can_be_drawn():
    assert "Radial" not in REGISTRY


@pytest.fixture
def quickly_compiled():
    """Compile without XLA's optimisations: these programs run a few times only."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize("kind", sorted(kind for kind in REGISTRY if REGISTRY[kind].role == "extended"))
def test_slopes_of_the_brightness(make_image, pixel, kind):
    problem = Problem(make_image(shape=(8, 8)), Model(generic(REGISTRY[kind], pixel)))
    (spec,), model = problem.spec.scene.components, problem.spec.model
    theta = problem.prior_transform(np.full(problem.ndim, 0.6))[0]
    widths = np.array([p.values[1] - p.values[0] for p in problem.priors])
    with jax.enable_x64(True):
        dx, dy = pixel * jnp.array([[1.3, -2.2, 0.4], [0.7, 0.9, -3.1]])

        @jax.jit
        @jax.value_and_grad
        def brightness(units):
            values = all_values(model, problem.on_device["model"], theta + widths * units)
            own = {name: values[f"comp_00_{name}"] for name, _ in spec.fields}
            return spec.kind.brightness(dx, dy, own, spec, pixel * jnp.eye(2)).sum()

        steps = 1e-5 * np.eye(problem.ndim)
        slopes = np.asarray(brightness(np.zeros(problem.ndim))[1])
        numeric = np.array([brightness(step)[0] - brightness(-step)[0] for step in steps]) / 2e-5
    # As below.
    np.testing.assert_allclose(slopes, numeric, rtol=1e-5, atol=1e-7 * np.abs(numeric).max())
    assert np.any(slopes)


#: Of these, every run compiles the whole likelihood's gradient, seconds each; of the others, that of their own light.
WHOLE = ("Background", "MesaBridge", "Point", "Sersic")


# Each costs seconds of compiling without a PSF too; there, nothing differs but for points.
@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize(
    ("kind", "psf"),
    [
        *((k, True) if k in WHOLE else pytest.param(k, True, marks=pytest.mark.slow) for k in sorted(REGISTRY)),
        ("Point", False),
    ],
)
def test_gradients(make_image, make_psf, pixel, kind, psf):
    data = np.random.default_rng(1).normal(0.5, 1, (16, 17))
    image = make_image(data, psf=make_psf((9, 8), skewed=True) if psf else None, noise=Normal(sigma=0.5))
    problem = Problem(image, Model(generic(REGISTRY[kind], pixel)))
    unit = np.random.default_rng(2).uniform(0.2, 0.8, (2, problem.ndim))
    theta = problem.prior_transform(unit)
    widths = np.array([p.values[1] - p.values[0] for p in problem.priors])
    steps = 1e-5 * widths
    moved = theta[:, None, None] + np.array([1, -1])[:, None, None] * np.diag(steps)
    # All at once, and by the one program; that the likelihood without a gradient is the same is tested with problems.
    rows = np.concatenate([theta, moved.reshape(-1, problem.ndim)])
    values, gradients = problem.log_likelihood_and_grad(rows)
    value, gradient = values[:2], gradients[:2]
    there = values[2:].reshape(2, 2, problem.ndim)
    numeric = (there[:, 0] - there[:, 1]) / (2 * steps)
    assert np.all(np.isfinite(gradient))
    # Central differences of 1e-5 of a prior: truncation 1e-10, rounding 1e-16 of the value over 1e-5, both of the scale
    # on which the likelihood changes. A derivative that is dropped is wrong by its whole size. Through a PSF, samples
    # follow the isophotes, and that they do is left out of the derivatives: it changes the image by less than its
    # error, but where the rest of a derivative is small, as of the angle of a thick disk, it counts.
    scale, slack = np.abs(value).max(), 2e-3 if kind == "Disk" else 1e-4
    for k, name in enumerate(problem.names):
        follows = psf and name.split("_", 2)[2].split(".")[-1] in ("theta", "e", "inc")
        tolerances = {"rtol": 4e-3, "atol": slack * scale} if follows else {"rtol": 1e-5, "atol": 1e-7 * scale}
        np.testing.assert_allclose(gradient[:, k] * widths[k], numeric[:, k] * widths[k], **tolerances, err_msg=name)
    assert np.all(np.any(np.abs(gradient * widths) > 1e-3, axis=0))
