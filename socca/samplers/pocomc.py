"""Preconditioned Monte Carlo, with a normalising flow: pocoMC (Karamanis et al. 2022, MNRAS 516, 1644)."""

from __future__ import annotations

import contextlib
import functools
import math
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError
from socca.samplers.base import Draws, Sampler, WithoutEffect
from socca.samplers.cube.unit_cube import UnitCube
from socca.samplers.options import LIST, OBJECT, TRUTH, whole, word
from socca.samplers.student import Student

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.samplers.base import Workers
    from socca.samplers.checkpoint import Checkpoint

#: What stands for a likelihood of zero: pocoMC takes its logarithm times a temperature of zero.
_IMPOSSIBLE = -1e100
#: Share of the draws for the evidence that are from the whole cube.
_FLAT = 0.1
#: What of pocoMC's state belongs to one run, and is not kept.
_OF_THE_RUN = ("pbar", "pool", "distribute", "prior", "log_prior", "sample_prior", "log_likelihood")


def _pocomc() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its dependencies, about one another
            import pocomc
    except ImportError as error:
        raise ConfigError(f"pocomc is not installed ({error}): pip install 'socca[pocomc]'") from error
    return pocomc


class Pocomc(Sampler):
    """Particles cooled from the prior to the posterior, their moves shaped by a normalising flow: also the evidence.

    ``focus`` is that of nautilus (see `socca.samplers.cube.repartitioning`): fewer temperatures lie between prior and
    posterior, and the posterior is round. Then no flow is trained, which is nearly all that pocoMC takes its time for,
    unless ``precondition`` is true. The evidence is that of ``n_evidence`` draws from the flow, or without one, from a
    Student density in its place; if that is 0, of the particles, without an error.
    """

    name = "pocomc"
    pickles = True
    requires = ("pocomc", "torch", "zuko", "numpy")
    defaults = {"focus": True, "precondition": None}  # noqa: RUF012  (never changed)
    allowed = {  # noqa: RUF012  (never changed)
        **dict.fromkeys(("n_active", "n_effective"), whole(2) | None),
        "n_total": whole(1),
        "n_evidence": whole(),
        "reflective": LIST | None,
        "transform": word("probit", "logit"),
        "flow": word() | OBJECT,
        "metric": word("ess", "uss"),
        "sample": word("tpcn", "rwm"),
        "resample": word("mult", "syst"),
        **dict.fromkeys(("pytorch_threads", "train_frequency", "n_prior", "n_steps", "n_max_steps"), whole(1) | None),
        "precondition": TRUTH | None,
    }
    reserved = frozenset(
        {
            *("prior", "likelihood", "n_dim", "likelihood_args", "likelihood_kwargs", "vectorize", "blobs_dtype"),
            *("periodic", "pool", "output_dir", "output_label", "random_state", "n_ess"),
            *("resume_state_path", "save_every"),
        }
    )
    instead = {  # noqa: RUF012  (never changed)
        "random_state": "write seed=",
        "output_dir": "write checkpoint=",
        "resume_state_path": "write checkpoint=, and the run goes on from it",
    }
    aliases = {"nlive": "n_effective", "n_live": "n_effective"}  # noqa: RUF012  (never changed)
    without_effect = {  # noqa: RUF012  (never changed)
        "vectorize": WithoutEffect("the likelihood always takes batches", as_asked=(True,)),
        "save_every": WithoutEffect("with checkpoint=, the state is kept every half minute", as_asked=(None,)),
    }
    mpi_advice = (
        "it might not benefit from MPI because its points are proposed one after another; consider method='nautilus'"
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.options.get("n_effective") is not None and self.options.get("n_active") is None:
            self.options["n_active"] = int(self.options["n_effective"]) // 2

    @classmethod
    def signatures(cls) -> tuple[Callable[..., Any], ...]:
        """Return pocoMC's constructor and its `run`."""
        pocomc = _pocomc()
        return pocomc.Sampler.__init__, pocomc.Sampler.run

    def explore(self, problem: LogDensity, pool: Workers, seed: int, checkpoint: Checkpoint) -> Draws:
        """Explore the posterior; see `Sampler.run`."""
        # Flows of one dimension have no other to depend on: a second axis does nothing.
        cube = UnitCube(problem, pool, seed, checkpoint, focus=self.options["focus"], at_least=2)
        kept = None if checkpoint.state is None else checkpoint.state["pocomc"].tobytes()
        return cube.explore_with_retry(functools.partial(self._explore, cube, seed, checkpoint), kept)

    def _explore(self, cube: UnitCube, seed: int, checkpoint: Checkpoint, kept: bytes | None) -> Draws:
        """Explore a cube, from the start or from a kept state of pocoMC."""
        pocomc = _pocomc()
        progress = self.progress_logger()

        class CheckpointingSampler(pocomc.Sampler):  # type: ignore[name-defined]
            """Sampler of pocoMC that offers its state to the checkpoint where it would write a file."""

            def save_state(self, path: Any) -> None:
                if not self.warmup:  # which pocoMC starts afresh
                    checkpoint.offer(state)
                if progress.due():
                    beta, logz = self.particles.get("beta", -1), self.particles.get("logz", -1)
                    progress.log(f"{self.calls} calls, inverse temperature {beta:.3g}, ln Z {logz:.2f}")

            def load_state(self, path: Any) -> None:
                self.__dict__.update(saved["sampler"])
                _set_random_states(saved["random"])

        def likelihood(w: np.ndarray) -> np.ndarray:
            return np.maximum(cube.log_likelihood(w), _IMPOSSIBLE)

        def state() -> dict[str, Any]:
            kept = {key: value for key, value in vars(sampler).items() if key not in _OF_THE_RUN}
            return {**cube.checkpoint_state, "pocomc": pickle.dumps({"sampler": kept, "random": _random_states()})}

        saved: dict[str, Any] = {}
        if kept is not None:
            saved = pickle.loads(kept)  # noqa: S301  (its signature has been checked)
        with _own_random_state(seed), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            sampler = CheckpointingSampler(
                _UniformPrior(cube.ndim),
                likelihood,
                n_dim=cube.ndim,
                vectorize=True,
                periodic=cube.periodic or None,
                **self._arguments(pocomc, cube),
            )
            options = self.arguments(pocomc.Sampler.run)
            if saved and saved["sampler"]["logz"] is not None:
                sampler.load_state(None)  # it was done already
            else:
                sampler.run(progress=False, save_every=1, resume_state_path="kept" if saved else None, **options)
            if not sampler.preconditioned and sampler.n_evidence > 0 and sampler.logz_err is None:
                sampler.logz, sampler.logz_err = importance_evidence(
                    sampler, likelihood, np.random.default_rng([seed, 2])
                )
            # All of them: those of least weight are the tails, without which variances are 2 to 4 % too small.
            points, log_weights, log_likelihood, _ = sampler.posterior(return_logw=True, trim_importance_weights=False)
            cube.check_coverage(log_weights, log_likelihood)
            checkpoint.offer(state, last=True)
            n_eff = effective_number(points, log_weights, int(sampler.n_active))
        return cube.draws(
            points,
            log_weights,
            log_likelihood,
            logz=float(sampler.logz),
            logz_err=math.nan if sampler.logz_err is None else float(sampler.logz_err),
            # The share of particles at each maximum is then known to no more than the root of their number.
            converged=not cube.parted,
            sampler=sampler,
            n_eff=n_eff,
            notes={"n_iterations": int(sampler.t), "logz_of_particles": float(sampler.particles.get("logz", -1))},
        )

    def _arguments(self, pocomc: Any, cube: UnitCube) -> dict[str, Any]:
        found = self.arguments(pocomc.Sampler.__init__)
        if found["precondition"] is None:
            found["precondition"] = not cube.focused
        if not found["precondition"] and found.get("n_steps") is None:
            found["n_steps"] = 2 * cube.ndim  # pocoMC's quarter of that leaves particles where they were
        return found


def effective_number(points: np.ndarray, log_weights: np.ndarray, n_active: int) -> float:
    """Return the effective number of weighted particles, which a few Markov steps part from those before.

    The variance of a weighted mean is the sum of the covariances between iterations, as far as they are positive
    (Geyer 1992, Stat. Sci. 7, 473). What it exceeds that of independent points by divides Kish's number.

    Parameters
    ----------
    points : ndarray, shape (n, ndim)
        The particles, one iteration after another.
    log_weights : ndarray, shape (n,)
        Their weights.
    n_active : int
        Particles of an iteration.

    Returns
    -------
    float
        The smallest for any parameter.
    """
    weights = np.exp(log_weights - np.logaddexp.reduce(log_weights))
    residuals = weights[:, None] * (points - weights @ points)
    sums = residuals.reshape(-1, n_active, points.shape[1]).sum(axis=1)
    total = np.sum(sums**2, axis=0)
    rising = np.ones(points.shape[1], bool)
    for lag in range(1, len(sums) // 2):
        covariance = 2 * np.sum(sums[lag:] * sums[:-lag], axis=0)
        rising &= covariance > 0
        total += np.where(rising, covariance, 0.0)
    longer = np.max(total / np.maximum(np.sum(residuals**2, axis=0), 1e-300))
    return float(1 / np.sum(weights**2) / max(1.0, longer))


def importance_evidence(
    sampler: Any, log_likelihood: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> tuple[float, float]:
    """Return the log-evidence and its error, by importance sampling from what pocoMC knows of the posterior.

    That is a Student density in its own coordinates, fitted to the particles. One draw in ten is from the whole cube,
    so that no weight is large where the Student density is small.

    Parameters
    ----------
    sampler : pocomc.Sampler
        At the end of its run.
    log_likelihood : callable
        Over the cube, shape (n, ndim) to (n,).
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    logz, logz_err : float
        The error from the scatter of the weights.
    """
    geometry, scaler, n = sampler.u_geometry, sampler.scaler, sampler.n_evidence
    student = Student(geometry.t_mean, np.linalg.cholesky(geometry.t_cov), geometry.t_nu)
    n_flat = math.ceil(_FLAT * n)
    flat = scaler.forward(rng.random((n_flat, sampler.n_dim)))
    u = np.concatenate([student.draw(n - n_flat, rng), flat])
    x, log_slope = scaler.inverse(u)
    log_student = student.log_density(u) - log_slope
    log_density = np.logaddexp(np.log1p(-n_flat / n) + log_student, np.log(n_flat / n))
    log_weights = log_likelihood(x) - log_density
    top = log_weights.max()
    weights = np.exp(log_weights - top)
    return float(top + np.log(weights.mean())), float(weights.std(ddof=1) / weights.mean() / math.sqrt(n))


class _UniformPrior:
    """Uniform prior over the unit cube, with pocoMC's interface of a prior."""

    def __init__(self, ndim: int) -> None:
        self.dim = ndim
        self.bounds = np.tile([0.0, 1.0], (ndim, 1))

    def logpdf(self, w: np.ndarray) -> np.ndarray:
        return np.where(np.all((w >= 0) & (w <= 1), axis=1), 0.0, -np.inf)

    def rvs(self, size: int = 1) -> np.ndarray:
        return np.random.random_sample((size, self.dim))  # noqa: NPY002  (the state that pocoMC draws from)


def _random_states() -> tuple[Any, Any]:
    import torch

    return np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002


def _set_random_states(states: tuple[Any, Any]) -> None:
    import torch

    np.random.set_state(states[0])  # noqa: NPY002
    torch.random.set_rng_state(states[1])


@contextlib.contextmanager
def _own_random_state(seed: int) -> Iterator[None]:
    """Seed the global random generators that pocoMC uses, and restore them afterwards."""
    import torch

    before, threads = _random_states(), torch.get_num_threads()
    try:
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        yield
    finally:
        _set_random_states(before)
        torch.set_num_threads(threads)
