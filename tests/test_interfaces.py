"""Interfaces: mypy, which reads this file too, checks what conforms to them; the tests, what cannot be made."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from socca.fitting.sample import CountingPool
from socca.noise import REGISTRY, NoiseModel
from socca.pool import Pool, SerialPool
from socca.pool.base import BorrowedPool, LentPool
from socca.pool.mp import MultiPool
from socca.samplers import METHODS, Sampler, get_sampler

if TYPE_CHECKING:
    from socca.likelihood.log_density import LogDensity
    from socca.likelihood.marginal import Marginal
    from socca.likelihood.problem import Problem
    from socca.noise import GaussianNoise, IndependentNoise, NoiseArrays, Normal, NormalCorrelated, Poisson, StudentT
    from socca.noise.base import NoData
    from socca.noise.correlated import PixelCovarianceArrays
    from socca.noise.fourier import PowerSpectrumArrays
    from socca.noise.levels import LevelArrays
    from socca.noise.poisson import CountArrays
    from socca.pool.mpi import MPIPool
    from socca.samplers.base import Workers
    from socca.samplers.dynesty import Dynesty
    from socca.samplers.emcee import Emcee
    from socca.samplers.nautilus import Nautilus
    from socca.samplers.numpyro import Numpyro
    from socca.samplers.optimizer import Optimizer
    from socca.samplers.pocomc import Pocomc

    def log_densities(problem: Problem, marginal: Marginal) -> list[LogDensity]:
        return [problem, marginal]

    def pools(serial: SerialPool, borrowed: BorrowedPool, lent: LentPool, loky: MultiPool, mpi: MPIPool) -> list[Pool]:
        return [serial, borrowed, lent, loky, mpi]

    def workers(pool: Pool, counted: CountingPool) -> list[Workers]:
        return [pool, counted]

    def samplers(
        nautilus: Nautilus, dynesty: Dynesty, pocomc: Pocomc, emcee: Emcee, numpyro: Numpyro, optimizer: Optimizer
    ) -> list[Sampler]:
        return [nautilus, dynesty, pocomc, emcee, numpyro, optimizer]

    def noise_arrays(
        levels: LevelArrays,
        counts: CountArrays,
        pixels: PixelCovarianceArrays,
        power: PowerSpectrumArrays,
        none: NoData,
    ) -> list[NoiseArrays]:
        return [levels, counts, pixels, power, none]

    def gaussian(normal: Normal, correlated: NormalCorrelated) -> list[GaussianNoise[Any]]:
        return [normal, correlated]

    def independent(normal: Normal, studentt: StudentT, poisson: Poisson) -> list[IndependentNoise[Any]]:
        return [normal, studentt, poisson]

    def arrays_are_those_of_the_model(poisson: Poisson, levels: LevelArrays) -> None:
        poisson.with_epsilon(levels, 1e-7)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_samplers_are_complete(method: str) -> None:
    kind = get_sampler(method)
    assert issubclass(kind, Sampler)
    assert not inspect.isabstract(kind)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_noise_models_are_complete(name: str) -> None:
    kind = REGISTRY[name]
    assert issubclass(kind, NoiseModel)
    assert not inspect.isabstract(kind)


@pytest.mark.parametrize("kind", [SerialPool, BorrowedPool, LentPool, MultiPool])
def test_pools_are_complete(kind: type[Pool]) -> None:
    assert not inspect.isabstract(kind)


def test_what_is_incomplete_cannot_be_made() -> None:
    class HalfSampler(Sampler):
        name = "half"

    class HalfPool(Pool):
        name = "half"

        def evaluate(self, theta: np.ndarray) -> np.ndarray:
            return np.zeros(len(theta))

    class HalfNoise(NoiseModel[Any], abstract=True):
        name = "half"

    makers: list[Any] = [HalfSampler, HalfPool, HalfNoise]
    for make, missing in zip(makers, ["explore", "map", "log_likelihood"], strict=True):
        with pytest.raises(TypeError, match=f"abstract.*{missing}"):
            make()


def test_a_lent_pool_does_what_the_pool_does_and_leaves_it_open() -> None:
    class Closing(SerialPool):
        closed = False

        def close(self) -> None:
            self.closed = True

    pool = Closing(lambda theta: theta.sum(axis=1))
    with LentPool(pool) as lent:
        assert (lent.name, lent.size, lent.started) == ("serial", 1, True)
        assert lent.evaluate(np.ones((2, 3))).tolist() == [3.0, 3.0]
        assert lent.map(abs, [-1, 2]) == [1, 2]
        assert lent.drive(lambda: 5) == 5
    assert not pool.closed
