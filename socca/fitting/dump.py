"""Files of fits: written by `fitter.dump`, read by `socca.load`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from socca.errors import PosteriorError, SoccaError, one_line
from socca.posterior.contents import FIT_GROUP
from socca.posterior.posterior import Posterior
from socca.posterior.storage import open_result, save_posterior
from socca.utils.launcher import ranks

if TYPE_CHECKING:
    import numpy as np

    from socca.data.image import Image
    from socca.fitting.stored_fit import Packed, StoredFit
    from socca.likelihood.problem import Problem
    from socca.models import Model

log = logging.getLogger(__name__)

#: How far the log-likelihood of a stored model may lie from that of its fit.
_CLOSE = 1e-3


def dump_fit(
    filename: str | Path,
    posterior: Posterior,
    image: Image,
    model: Model,
    problem: Problem | None,
    history: Mapping[str, np.ndarray],
) -> None:
    """Write a fit to an HDF5 file, whole or not at all.

    Parameters
    ----------
    filename : str or Path
        The file; an existing one is replaced.
    posterior : Posterior
        The result.
    image, model : Image, Model
        What was fitted. If they have changed since, or cannot be kept, there is a warning, and only the posterior is
        written.
    problem : Problem, optional
        Compiled from them for the fit; None if there is only a posterior.
    history : mapping of str to ndarray
        What changed during the run.
    """
    found = None if problem is None else _packed(filename, image, model, problem, history)
    save_posterior(filename, posterior, None if found is None else found.write)


def _packed(
    filename: str | Path, image: Image, model: Model, problem: Problem, history: Mapping[str, np.ndarray]
) -> Packed | None:
    from socca.fitting.stored_fit import packed
    from socca.likelihood.problem import Problem

    try:
        changed = Problem(image, model).digest() != problem.digest()
        why = "they have changed since the run"
        found = None if changed else packed(problem, image, model, history)
    except Exception as error:  # whatever a script has put into a model must not cost the posterior
        found, why = None, f"{type(error).__name__}: {error}"
    if found is None:
        warnings.warn(f"{filename}: holds the posterior, but not image and model: {why}", UserWarning, stacklevel=4)
    return found


def load_fit(
    filename: str | Path, target: str | None, allow_pickle: bool
) -> tuple[Posterior, Image | None, Model | None, Mapping[str, np.ndarray], int, str]:
    """Read a fit.

    Parameters
    ----------
    filename : str or Path
        The file.
    target : str, optional
        Whose, in a file of many targets.
    allow_pickle : bool
        Whether to open pickles.

    Returns
    -------
    posterior : Posterior
        The result.
    image, model : Image, Model or None
        What was fitted, if the file has it.
    history : mapping of str to ndarray
        What changed during the run.
    rank : int
        Which of several processes this one is.
    missing : str
        Why there is no image and model.

    Raises
    ------
    PosteriorError
        If there is no posterior to be read.
    """
    posterior = Posterior.load(filename, target)
    launch = ranks()
    rank = 0 if launch is None else launch.rank
    try:
        stored = _stored(filename, target, allow_pickle, posterior)
    except SoccaError as error:
        log.warning("%s: %s", filename, error)
        return posterior, None, None, {}, rank, f"{filename}: {error}"
    if stored is None:
        missing = f"{filename}: holds the posterior, but not image and model, which this needs"
        return posterior, None, None, {}, rank, missing
    return posterior, stored.image, stored.model, stored.history, rank, ""


def _stored(filename: str | Path, target: str | None, allow_pickle: bool, posterior: Posterior) -> StoredFit | None:
    """Return image and model, if they give the likelihood that the posterior has; else, raise `SoccaError`."""
    try:
        return _checked(filename, target, allow_pickle, posterior)
    except (SoccaError, MemoryError):
        raise
    except Exception as error:  # what is damaged, or was pickled elsewhere, fails in any way
        raise PosteriorError(
            f"image and model are damaged, or of another version of socca: {one_line(error)}"
        ) from error


def _checked(filename: str | Path, target: str | None, allow_pickle: bool, posterior: Posterior) -> StoredFit | None:
    with open_result(filename, target) as group:
        if FIT_GROUP not in group:
            return None
        from socca.fitting.stored_fit import read_fit
        from socca.likelihood.problem import Problem

        stored = read_fit(group, allow_pickle)
    if stored is not None:
        problem = Problem(stored.image, stored.model)
        if problem.digest() != stored.digest:
            before = float(posterior.log_likelihood[posterior.best_index])
            now = float(problem.log_likelihood(posterior.best[None])[0])
            if not abs(now - before) < _CLOSE * max(1.0, abs(before) * 1e-3):
                raise PosteriorError(
                    f"this version of socca makes another model of what is stored: ln L = {now:.6g}, not {before:.6g}"
                )
    return stored
