"""Corner and trace figures of a posterior."""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError, PosteriorError, nearest
from socca.plotting.axes import Axis, axes_of, labelled, parameters_of
from socca.plotting.comparison import DATA, MODEL
from socca.plotting.output import NewFigure, draw_to
from socca.utils.statistics import INTERVAL, weighted_quantiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from socca.posterior.posterior import Posterior

#: Inches per parameter of a corner figure, and around it.
_PANEL, _MARGIN = 1.45, 1.3
#: Letters of a label that fit below a panel.
_WIDEST = 18
#: Probability within the contours: 1 and 2 standard deviations of a Gaussian in two dimensions.
_CONTOURS = tuple(1 - math.exp(-0.5 * n**2) for n in (1, 2))
#: Marked by lines in a corner figure.
QUANTILES = (0.16, 0.5, 0.84)
#: Arguments of `corner.corner` that are set here, and what to write in their place.
_RESERVED = {"data": "", "weights": "", "fig": "", "range": ": write edges="}
#: Arguments of `corner.corner` with which it writes the titles itself.
_TITLES = frozenset({"show_titles", "titles", "title_fmt", "title_kwargs", "title_quantiles"})
#: Least weight, as a share of the largest, of a sample that a trace shows.
_VISIBLE = 1e-6


def check_options(given: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for what is no argument of `corner.corner`, or is set here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        from corner import corner, hist2d

    known = {name for function in (corner, hist2d) for name in inspect.signature(function).parameters}
    known -= {"x", "y", "ax", "kwargs", "hist2d_kwargs", "args"}
    for name in given:
        if name in _RESERVED:
            raise ConfigError(f"corner: {name} is set by socca{_RESERVED[name]}")
        if name not in known:
            raise ConfigError(
                f"corner: unknown option {name!r}{nearest(name, sorted(known - _RESERVED.keys()), listed=True)}"
            )


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
        name: str | Path | None = None,
        component: Any = None,
        fmt: str = "pdf",
        sigma: float | None = 10.0,
        edges: Mapping[str, tuple[float, float]] | Sequence[tuple[float, float]] | None = None,
        quantiles: Sequence[float] = QUANTILES,
        bins: int = 40,
        *,
        truths: Mapping[str, float] | Sequence[float | None] | None = None,
        parameters: list[str] | None = None,
        dpi: float = 150,
        **kwargs: Any,
    ) -> Path | Figure | None:
        """Draw the distribution of each parameter and of all pairs, by the package corner (Foreman-Mackey 2016).

        Parameters
        ----------
        name : str or Path, optional
            The file; without an ending, that of `fmt` is added. By default the figure is shown.
        component : str, int, Component or list of these, optional
            Draw the parameters of these components alone: by id or label, by number, or the component itself.
        fmt : str
            Format of a file whose name has no ending.
        sigma : float, optional
            No axis reaches further than this many standard deviations from the median.
        edges : dict or list of pairs, optional
            Ends of the axes, in the parameters' own units: by label or full name, or one pair for each that is drawn;
            None for ends of our choice.
        quantiles : sequence of float
            Marked by lines. The title of each parameter is its median and the central 68 per cent.
        bins : int
            Of each axis.
        truths : dict or list, optional
            Values that are marked by lines, in the parameters' own units: by label or full name, or one for each
            parameter that is drawn, None for none.
        parameters : list of str, optional
            Those that are drawn, tied ones too; by default all free ones.
        dpi : float
            Dots per inch, of a file.
        **kwargs : object
            Arguments of `corner.corner`, in the place of those that are set here.

        Returns
        -------
        Path, Figure or None
            The file; in a notebook without a `name`, the figure. Contours hold 39 and 86 per cent (1 and 2 sigma in two
            dimensions).

        Raises
        ------
        PosteriorError
            If a component or parameter is unknown, or none is drawn.
        ConfigError
            If an argument of `corner.corner` is unknown, or set here.
        """
        check_options(kwargs)
        axes = axes_of(self._posterior, parameters_of(self._posterior, component, parameters))
        if not axes:
            raise PosteriorError("corner: the posterior has no free parameter")
        by_label = functools.partial(labelled, self._posterior, axes)
        lines = {label: axes[label].shown(float(x)) for label, x in by_label("truths", truths).items() if x is not None}
        ends = {
            label: tuple(axes[label].shown(float(x)) for x in pair)
            for label, pair in by_label("edges", edges).items()
            if pair is not None
        }
        weights = self._posterior.weights
        ranges = [
            ends.get(label) or _span(axis.values, weights, lines.get(label), sigma) for label, axis in axes.items()
        ]
        options = {"bins": bins, "range": ranges, "truths": [lines.get(label) for label in axes], **kwargs}

        def draw(new_figure: NewFigure) -> Figure:
            side = _PANEL * len(axes) + _MARGIN
            return _draw_corner(new_figure((side, side)), axes, weights, quantiles, options)

        return draw_to(name, fmt, dpi, draw)

    def trace(
        self,
        name: str | Path | None = None,
        fmt: str = "pdf",
        *,
        parameters: list[str] | None = None,
        dpi: float = 150,
    ) -> Path | Figure | None:
        """Draw log-likelihood, weight and each parameter against the number of the sample.

        Samples are in the order of the sampler: outside in for nested ones, chain after chain for Markov chains.

        Parameters
        ----------
        name : str or Path, optional
            The file; without an ending, that of `fmt` is added. By default the figure is shown.
        fmt : str
            Format of a file whose name has no ending.
        parameters : list of str, optional
            Those that are drawn; by default all free ones.
        dpi : float
            Dots per inch, of a file.

        Returns
        -------
        Path, Figure or None
            The file; in a notebook without a `name`, the figure. Parameters are coloured by weight, those of less than
            a millionth of the largest grey.

        Raises
        ------
        PosteriorError
            If a parameter is unknown.
        """
        axes = axes_of(self._posterior, parameters)
        return draw_to(name, fmt, dpi, lambda new_figure: _draw_trace(self._posterior, axes, new_figure))


def _draw_corner(
    figure: Figure, axes: dict[str, Axis], weights: np.ndarray, quantiles: Sequence[float], options: dict[str, Any]
) -> Figure:
    from matplotlib.ticker import MaxNLocator

    with warnings.catch_warnings():  # of arviz, which corner loads where there is one: a notice once a day
        warnings.simplefilter("ignore", FutureWarning)
        from corner import corner

    n, side = len(axes), figure.get_figwidth()
    # Units go to a second line where a label is wider than its panel.
    labels = [axis.label if len(axis.label) <= _WIDEST else axis.label.replace(" [", "\n[") for axis in axes.values()]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    style: dict[str, Any] = {
        "labels": labels,
        "label_kwargs": {"fontsize": min(9.5, _WIDEST * 9.5 / longest), "parse_math": False},
        "truth_color": MODEL,
        "levels": _CONTOURS,
        "smooth": 1.0,
        "color": DATA,
        "plot_datapoints": False,
        "fill_contours": True,
        "hist_kwargs": {"linewidth": 1.2},
        "contour_kwargs": {"linewidths": 1.0},
    }
    corner(
        np.stack([axis.values for axis in axes.values()], axis=1), weights=weights, fig=figure, **{**style, **options}
    )
    panels = np.array(figure.axes).reshape(n, n)
    for k, axis in enumerate(axes.values()):
        low, median, high = weighted_quantiles(axis.values, weights, [(1 - INTERVAL) / 2, 0.5, (1 + INTERVAL) / 2])
        above = f"{axis.origin}\n" if axis.origin else ""
        if not _TITLES & options.keys():
            panels[k, k].set_title(above + interval_of(low, median, high), fontsize=9)
        for quantile, place in zip(quantiles, weighted_quantiles(axis.values, weights, list(quantiles)), strict=True):
            panels[k, k].axvline(place, color="0.55", linewidth=0.9, linestyle="-" if quantile == 0.5 else "--")
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
    return figure


def _draw_trace(posterior: Posterior, axes: dict[str, Axis], new_figure: NewFigure) -> Figure:
    order = np.arange(len(posterior.samples))
    relative = np.exp(posterior.log_weights - posterior.log_weights.max())
    seen = relative > _VISIBLE
    rows = 2 + len(axes)
    height = 1.25 * rows + 0.7
    figure = new_figure((8.0, height))
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
    return figure


def _span(
    values: np.ndarray, weights: np.ndarray, mark: float | None, sigma: float | None = None
) -> tuple[float, float]:
    """Return the range that an axis shows: nearly all of the probability, up to a distance, and a mark."""
    low, median, high = weighted_quantiles(values, weights, [0.0007, 0.5, 0.9993])
    if sigma is not None:
        reach = sigma * float(np.sqrt(np.average((values - np.average(values, weights=weights)) ** 2, weights=weights)))
        low, high = max(low, median - reach), min(high, median + reach)
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
