"""Corner and trace figures of a posterior."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import PosteriorError, nearest
from socca.plotting.comparison import DATA, MODEL, save_figure
from socca.posterior.exports import image_unit
from socca.posterior.statistics import INTERVAL, weighted_quantiles

if TYPE_CHECKING:
    from socca.posterior.posterior import Posterior

#: Inches per parameter of a corner figure, and around it.
_PANEL, _MARGIN = 1.45, 1.3
#: Letters of a label that fit below a panel.
_WIDEST = 18
#: Probability within the contours: 1 and 2 standard deviations of a Gaussian in two dimensions.
_CONTOURS = tuple(1 - math.exp(-0.5 * n**2) for n in (1, 2))
#: Values that vary by less than this share of their size are shown as differences from their median.
_NARROW = 1e-4
#: Least weight, as a share of the largest, of a sample that a trace shows.
_VISIBLE = 1e-6


@dataclass(frozen=True)
class Axis:
    """A parameter as figures show it.

    Parameters
    ----------
    label : str
        With its unit.
    origin : str
        What the values count from, if that is not zero.
    values : ndarray, shape (n,)
        In that unit.
    factor, zero : float
        ``values = factor * (value - zero)``.
    period : float or None
        In the parameter's own unit.
    """

    label: str
    origin: str
    values: np.ndarray
    factor: float
    zero: float
    period: float | None = None

    def shown(self, value: float) -> float:
        """Return a value of the parameter as the figure shows it; an angle within half a period of the samples."""
        if self.period is not None:
            middle = self.zero + float(np.median(self.values)) / self.factor
            value = middle + (value - middle + self.period / 2) % self.period - self.period / 2
        return self.factor * (value - self.zero)


def axes_of(posterior: Posterior, parameters: list[str] | None = None) -> dict[str, Axis]:
    """Return the parameters of a posterior in units that read well.

    Parameters
    ----------
    posterior : Posterior
        Its samples; angles are already unwrapped around their mean.
    parameters : list of str, optional
        Labels or full names of those that are wanted; by default all free ones.

    Returns
    -------
    dict of Axis
        By label. Degrees on the sky become arcsec, radians degrees; positions, and whatever else varies little for its
        size, become differences from their median, `Axis.origin`.

    Raises
    ------
    PosteriorError
        If a parameter is unknown.
    """
    columns = {label: (unit, values) for label, unit, values in posterior.columns()}
    full = dict(zip(posterior.names, posterior.labels, strict=True))
    periods = dict(zip(posterior.labels, posterior.periods or [None] * len(posterior.labels), strict=True))
    periods |= posterior.derived_periods
    found = {}
    for name in posterior.labels if parameters is None else parameters:
        label = full.get(name, name)
        if label not in columns:
            raise PosteriorError(f"the posterior has no parameter {name!r}{nearest(name, columns)}")
        unit, values = columns[label]
        factor, shown = {
            "deg": (3600.0, "arcsec"),
            "rad": (180 / math.pi, "deg"),
            "image": (1.0, image_unit(posterior) or "image unit"),
        }.get(unit, (1.0, unit))
        low, median, high = weighted_quantiles(values, posterior.weights, [0.16, 0.5, 0.84])
        # Rounded well within the width, so that a figure can give it whole.
        zero, origin = 0.0, ""
        if 0 < high - low < _NARROW * abs(median):
            digits = 1 - math.floor(math.log10(high - low))
            zero = round(median, digits)
            origin = f"{zero:.{max(digits, 0)}f} {unit}".rstrip()
        text = f"Δ {label}" if origin else label
        text = f"{text} [{shown}]" if shown else text
        found[label] = Axis(text, origin, factor * (values - zero), factor, zero, periods.get(label))
    return found


class PosteriorPlots:
    """Figures of a posterior, files in PNG or PDF by their ending.

    Parameters
    ----------
    posterior : Posterior
        What is drawn.
    """

    def __init__(self, posterior: Posterior) -> None:
        self._posterior = posterior

    def corner(
        self,
        name: str | Path = "corner.png",
        truths: Mapping[str, float] | None = None,
        *,
        parameters: list[str] | None = None,
        bins: int = 30,
        dpi: float = 150,
    ) -> Path:
        """Draw the distribution of each parameter and of all pairs, by the package corner (Foreman-Mackey 2016).

        Parameters
        ----------
        name : str or Path
            The file.
        truths : dict, optional
            Label or full name of a parameter -> value, in the parameter's own unit, marked by lines.
        parameters : list of str, optional
            Those that are drawn, tied ones too; by default all free ones.
        bins : int
            Of each axis.
        dpi : float
            Dots per inch.

        Returns
        -------
        Path
            The file. Contours hold 39 and 86 per cent (1 and 2 sigma in two dimensions); titles are the median and the
            central 68 per cent.

        Raises
        ------
        PosteriorError
            If a parameter is unknown, or none varies.
        """
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        with warnings.catch_warnings():  # of arviz, which corner loads where there is one: a notice once a day
            warnings.simplefilter("ignore", FutureWarning)
            from corner import corner

        posterior = self._posterior
        axes = axes_of(posterior, parameters)
        full = dict(zip(posterior.names, posterior.labels, strict=True))
        marks = {full.get(key, key): value for key, value in (truths or {}).items()}
        for key in marks:
            if key not in axes:
                raise PosteriorError(f"truths: no parameter {key!r} is drawn{nearest(key, axes)}")
        lines = {label: axes[label].shown(float(value)) for label, value in marks.items()}
        ranges = [_span(axis.values, posterior.weights, lines.get(label)) for label, axis in axes.items()]
        n = len(axes)
        if n == 0:
            raise PosteriorError("corner: the posterior has no free parameter")
        # Units go to a second line where a label is wider than its panel.
        labels = [
            axis.label if len(axis.label) <= _WIDEST else axis.label.replace(" [", "\n[") for axis in axes.values()
        ]
        longest = max(len(line) for label in labels for line in label.split("\n"))
        side = _PANEL * n + _MARGIN
        figure = Figure(figsize=(side, side))
        corner(
            np.stack([axis.values for axis in axes.values()], axis=1),
            bins=bins,
            range=ranges,
            weights=posterior.weights,
            labels=labels,
            label_kwargs={"fontsize": min(9.5, _WIDEST * 9.5 / longest), "parse_math": False},
            truths=[lines.get(label) for label in axes],
            truth_color=MODEL,
            levels=_CONTOURS,
            smooth=1.0,
            smooth1d=None,
            color=DATA,
            plot_datapoints=False,
            fill_contours=True,
            hist_kwargs={"linewidth": 1.2},
            contour_kwargs={"linewidths": 1.0},
            fig=figure,
        )
        panels = np.array(figure.axes).reshape(n, n)
        for k, axis in enumerate(axes.values()):
            low, median, high = weighted_quantiles(
                axis.values, posterior.weights, [(1 - INTERVAL) / 2, 0.5, (1 + INTERVAL) / 2]
            )
            above = f"{axis.origin}\n" if axis.origin else ""
            panels[k, k].set_title(above + interval_of(low, median, high), fontsize=9)
            for edge in (low, high):
                panels[k, k].axvline(edge, color="0.55", linewidth=0.9, linestyle="--")
            panels[k, k].axvline(median, color="0.55", linewidth=0.9)
        for panel in panels[np.triu_indices(n, 1)]:
            panel.set_axis_off()
        for i, j in zip(*np.tril_indices(n), strict=True):
            panels[i, j].tick_params(labelsize=8, direction="in")
            panels[i, j].xaxis.set_major_locator(MaxNLocator(3, prune="both"))
            if i != j:
                panels[i, j].yaxis.set_major_locator(MaxNLocator(3, prune="both"))
        # Beside all tick labels, and in line with one another.
        for k in range(n):
            panels[n - 1, k].xaxis.set_label_coords(0.5, -0.34)
            panels[k, 0].yaxis.set_label_coords(-0.38, 0.5)
        edge, right, top = 0.95 / side, 1 - 0.1 / side, 1 - 0.5 / side
        figure.subplots_adjust(left=edge, bottom=edge, right=right, top=top, wspace=0.06, hspace=0.06)
        save_figure(figure, name, dpi)
        return Path(name)

    def trace(self, name: str | Path = "trace.png", *, parameters: list[str] | None = None, dpi: float = 150) -> Path:
        """Draw log-likelihood, weight and each parameter against the number of the sample.

        Samples are in the order of the sampler: outside in for nested ones, chain after chain for Markov chains.

        Parameters
        ----------
        name : str or Path
            The file.
        parameters : list of str, optional
            Those that are drawn; by default all free ones.
        dpi : float
            Dots per inch.

        Returns
        -------
        Path
            The file. Parameters are coloured by weight, those of less than a millionth of the largest grey.

        Raises
        ------
        PosteriorError
            If a parameter is unknown.
        """
        from matplotlib.figure import Figure

        posterior = self._posterior
        axes = axes_of(posterior, parameters)
        order = np.arange(len(posterior.samples))
        relative = np.exp(posterior.log_weights - posterior.log_weights.max())
        seen = relative > _VISIBLE
        rows = 2 + len(axes)
        height = 1.25 * rows + 0.7
        figure = Figure(figsize=(8.0, height))
        panels = figure.subplots(rows, 1, sharex=True)
        likelihood = posterior.log_likelihood
        dots: dict[str, Any] = {"s": 3, "linewidths": 0, "rasterized": True}
        panels[0].scatter(order, likelihood, color=DATA, **dots)
        finite = likelihood[seen & np.isfinite(likelihood)]
        if finite.size and np.ptp(finite) > 0:  # the first samples of a nested sampler would flatten all others
            panels[0].set_ylim(finite.min() - 0.1 * np.ptp(finite), finite.max() + 0.1 * np.ptp(finite))
        panels[0].set_ylabel("ln L")
        panels[1].scatter(order, relative, color=DATA, **dots)
        panels[1].set_ylabel("weight\n/ largest")
        panels[1].set_ylim(-0.05, 1.08)
        light_first = np.argsort(relative[seen], kind="stable")
        for panel, axis in zip(panels[2:], axes.values(), strict=True):
            panel.scatter(order[~seen], axis.values[~seen], color="0.85", **dots)
            x, y, colour = (column[seen][light_first] for column in (order, axis.values, relative))
            panel.scatter(x, y, c=colour, cmap="viridis_r", vmin=0, vmax=1, **dots)
            low, high = _span(axis.values, posterior.weights, None)
            room = 0.6 * (high - low)
            panel.set_ylim(low - room, high + room)
            panel.set_ylabel(axis.label.replace(" [", "\n["), parse_math=False)
            if axis.origin:
                box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5}
                at = {"x": 0.99, "y": 0.93, "ha": "right", "va": "top", "transform": panel.transAxes}
                panel.text(s=f"from {axis.origin}", fontsize=8, bbox=box, **at)
        for panel in panels:
            panel.grid(alpha=0.25, linewidth=0.6)
            panel.tick_params(labelsize=8)
            panel.yaxis.label.set_size(9)
            panel.yaxis.set_label_coords(-0.085, 0.5)
        panels[-1].set_xlabel("sample", fontsize=10)
        panels[-1].set_xlim(-0.01 * len(order), 1.01 * len(order))
        figure.subplots_adjust(left=0.135, right=0.985, bottom=0.5 / height, top=1 - 0.12 / height, hspace=0.12)
        save_figure(figure, name, dpi)
        return Path(name)


def _span(values: np.ndarray, weights: np.ndarray, mark: float | None) -> tuple[float, float]:
    """Return the range that an axis shows: nearly all of the probability, and a mark."""
    low, high = weighted_quantiles(values, weights, [0.0007, 0.9993])
    room = 0.05 * (high - low) or max(abs(low), 1.0) * 1e-3
    if mark is not None:
        low, high = min(low, mark), max(high, mark)
    return low - room, high + room


def interval_of(low: float, median: float, high: float) -> str:
    """Return a median and its errors, these with two significant digits."""
    least = min(x for x in (median - low, high - median) if x > 0) if high > low else 0.0
    if not least > 0:
        return f"{median:.6g}"
    digits = max(0, 1 - math.floor(math.log10(least)))
    if digits > 6 or abs(median) >= 1e6:
        power = math.floor(math.log10(max(abs(median), least)))
        scale = 10.0**power
        inner = interval_of(low / scale, median / scale, high / scale)
        return f"({inner})$\\times10^{{{power}}}$"
    plus, minus = high - median, median - low
    median = round(median, digits) + 0.0  # no negative zero
    return f"${median:.{digits}f}^{{+{plus:.{digits}f}}}_{{-{minus:.{digits}f}}}$"
