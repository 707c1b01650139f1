"""Maps of a fitted model, by the names that scripts use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from socca.errors import ConfigError, nearest
from socca.posterior.pixelwise import median_and_std

if TYPE_CHECKING:
    from socca.likelihood.problem import Problem
    from socca.posterior.posterior import Posterior

#: What a drawn model can be, of all that the posterior allows.
STATISTICS = ("best", "median", "pixel_median", "pixel_std")
#: Every name of a map -> the part of a `Rendered` image that it is.
MAPS = {
    "raw": "raw",
    **dict.fromkeys(("smoothed", "smo", "smooth", "conv", "convolved", "total"), "total"),
    **dict.fromkeys(("background", "bkg"), "background"),
    "sources": "smoothed",
}


class FittedMaps(NamedTuple):
    """The maps of a fitted model.

    Attributes
    ----------
    raw : ndarray, shape (ny, nx)
        Extended light as it is on the sky.
    smoothed : ndarray, shape (ny, nx)
        All that the data are compared with: sources behind the PSF, and the background.
    background : ndarray, shape (ny, nx)
        The background alone.
    """

    raw: np.ndarray
    smoothed: np.ndarray
    background: np.ndarray


@dataclass(frozen=True)
class Statistic:
    """At which of the parameters that the posterior allows a model is drawn.

    Parameters
    ----------
    name : str
        One of `STATISTICS`.
    n_draws : int
        Samples of equal weight, for statistics of each pixel.
    seed : int
        Of their draw.

    Raises
    ------
    ConfigError
        If there is no such statistic.
    """

    name: str
    n_draws: int = 200
    seed: int = 1

    def __post_init__(self) -> None:
        if self.name not in STATISTICS:
            raise ConfigError(f"statistic: there is no {self.name!r}{nearest(str(self.name), STATISTICS, listed=True)}")

    @classmethod
    def chosen(cls, usebest: bool, statistic: str | None, n_draws: int, seed: int) -> Statistic:
        """Return the one that is asked for: that of a name, or of `usebest`, medians of parameters or of pixels."""
        return cls(statistic or ("median" if usebest else "pixel_median"), n_draws, seed)

    @property
    def pixelwise(self) -> bool:
        """Whether it is a statistic of each pixel."""
        return self.name in ("pixel_median", "pixel_std")

    def rows(self, posterior: Posterior) -> np.ndarray:
        """Return samples of equal weight, shape (n_draws, ndim)."""
        return posterior.equal_weights(self.n_draws, np.random.default_rng([int(self.seed), 5]))

    def theta(self, posterior: Posterior) -> np.ndarray:
        """Return the free parameters that stand for the posterior, shape (ndim,)."""
        return posterior.best if self.name == "best" else posterior.median()


def parts_of(what: str | Sequence[str]) -> list[str]:
    """Return the parts of a `Rendered` image that names of maps stand for.

    Parameters
    ----------
    what : str or sequence of str
        Keys of `MAPS`; ``all`` alone stands for the fields of `FittedMaps`.

    Returns
    -------
    list of str
        One for each.

    Raises
    ------
    ConfigError
        If a name is unknown, or none is given.
    """
    names = [what] if isinstance(what, str) else list(what)
    if names == ["all"]:
        names = list(FittedMaps._fields)
    for name in names:
        if name not in MAPS:
            raise ConfigError(f"what: there is no map {name!r}{nearest(str(name), ['all', *MAPS], listed=True)}")
    if not names:
        raise ConfigError(f"what: no map is asked for{nearest('', ['all', *MAPS], listed=True)}")
    return [MAPS[name] for name in names]


def names_of(what: str | Sequence[str]) -> list[str]:
    """Return the first of the names of each map that is asked for, such as ``smoothed`` for ``smo``.

    Parameters
    ----------
    what : str or sequence of str
        As of `parts_of`.

    Returns
    -------
    list of str
        Keys of `MAPS`, each once.

    Raises
    ------
    ConfigError
        If a name is unknown, or none is given.
    """
    first = {part: name for name, part in reversed(MAPS.items())}
    return [first[part] for part in dict.fromkeys(parts_of(what))]


def draw_maps(
    problem: Problem,
    posterior: Posterior,
    parts: Sequence[str],
    statistic: Statistic,
    only: tuple[int, ...] | None = None,
    response: bool = False,
    exposure: bool = False,
) -> list[np.ndarray]:
    """Draw maps of a fitted model.

    Parameters
    ----------
    problem : Problem
        Draws the model.
    posterior : Posterior
        Its parameters.
    parts : sequence of str
        From `parts_of`.
    statistic : Statistic
        At which parameters.
    only : tuple of int, optional
        Numbers of the components that are drawn; by default all.
    response, exposure : bool
        Whether to multiply by them.

    Returns
    -------
    list of ndarray, shape (ny, nx)
        One for each part. A median of a sum is not the sum of medians.
    """
    if not statistic.pixelwise:
        theta = statistic.theta(posterior)
        drawn = problem.render(theta, only, response=response, exposure=exposure, raw="raw" in parts)
        return [np.asarray(getattr(drawn, part)) for part in parts]
    rows, wanted = statistic.rows(posterior), tuple(dict.fromkeys(parts))
    median, std = median_and_std(problem, rows, wanted, only, response=response, exposure=exposure)
    found = dict(zip(wanted, median if statistic.name == "pixel_median" else std, strict=True))
    return [found[part] for part in parts]
