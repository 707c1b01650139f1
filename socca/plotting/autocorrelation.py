"""Figure of autocorrelation times against the length of a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from socca.errors import PosteriorError
from socca.plotting.comparison import COLOURS, DATA, MODEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from socca.plotting.output import NewFigure


def draw_autocorrelation(
    looks: np.ndarray,
    labels: list[str],
    new_figure: NewFigure,
    *,
    size: tuple[float, float],
    tau_factor: float = 50,
    show_params: bool = False,
) -> Figure:
    """Draw the autocorrelation time, as it was estimated during a run, against the steps until then.

    Parameters
    ----------
    looks : ndarray, shape (n, 1 + ndim)
        Steps, and the autocorrelation time of each parameter.
    labels : list of str
        Of the parameters.
    new_figure : callable
        Makes a figure of a size, width and height in inches.
    size : tuple of float
        Width and height, inches.
    tau_factor : float
        A line shows how long the time may be for the chain to be as many times longer.
    show_params : bool
        Whether to draw each parameter, besides the mean and the largest.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    PosteriorError
        If there is no estimate.
    """
    known = looks[np.isfinite(looks[:, 1:]).all(axis=1)]
    if not len(known):
        raise PosteriorError("there is no estimate of the autocorrelation time: the run was too short")
    steps, taus = known[:, 0], known[:, 1:]
    figure = new_figure(size)
    axes = figure.subplots()
    for k, label in enumerate(labels if show_params else ()):
        axes.plot(steps, taus[:, k], color=COLOURS[k % len(COLOURS)], linewidth=0.9, alpha=0.7, label=label)
    axes.plot(steps, taus.mean(axis=1), "o-", color=DATA, markersize=3, linewidth=1.4, label="mean")
    axes.plot(steps, taus.max(axis=1), "o-", color=MODEL, markersize=3, linewidth=1.4, label="largest")
    axes.plot(steps, steps / tau_factor, "--", color="0.45", linewidth=1.2, label=f"steps / {tau_factor:g}")
    axes.set_ylim(0, 1.15 * float(max(taus.max(), np.median(steps) / tau_factor)))
    axes.set_xlabel("steps", fontsize=11)
    axes.set_ylabel("autocorrelation time [steps]", fontsize=11)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.tick_params(labelsize=9.5, direction="in")
    for text in axes.legend(fontsize=9, frameon=False).get_texts():
        text.set_parse_math(False)
    figure.subplots_adjust(left=0.14, right=0.97, bottom=0.15, top=0.97)
    return figure
