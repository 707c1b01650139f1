"""Comparison figure: data, model and residual of one fit."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError, nearest
from socca.plotting.image_record import FailedFit, ModelImages
from socca.plotting.output import NewFigure, save_figure

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

__all__ = ["STRETCHES", "annuli", "comparison_figure", "draw_comparison"]

#: Ways to map brightness to colour.
STRETCHES = ("asinh", "linear", "log", "sqrt")
#: Limits between which the residuals' colour scale ends, in sigma.
RESIDUAL_LIMITS = (3.0, 10.0)
#: Inches that the title takes, and each row of panels.
TITLE_HEIGHT, ROW_HEIGHT = 0.45, 4.55
#: Colours of data, model and components in profiles, and of masked pixels.
DATA, MODEL, MASKED = "0.15", "#d1495b", "0.7"
COLOURS = ("#2e86ab", "#3d9970", "#8e5ea2", "#e08e2b", "#6b7a8f", "#b5651d")


def comparison_figure(
    images: ModelImages | FailedFit,
    output: str | Path,
    *,
    dpi: float = 100,
    **style: Any,
) -> None:
    """Draw data, model, residuals and radial profiles of one fit to a file; of a failed one, its message.

    Parameters
    ----------
    images : ModelImages or FailedFit
        The images of the fit, as it drew them or from its file (`socca.plotting.image_record.read_model_images`).
    output : str or Path
        The figure; its ending says which format (``.png``, ``.pdf``, …).
    dpi : float
        Dots per inch.
    **style : object
        See `draw_comparison`.

    Raises
    ------
    ConfigError
        If an option is unknown or out of range.
    """
    from matplotlib.figure import Figure

    save_figure(draw_comparison(images, lambda size: Figure(figsize=size), **style), output, dpi)


def draw_comparison(
    images: ModelImages | FailedFit,
    new_figure: NewFigure,
    *,
    colormap: Any = "viridis",
    model_colormap: Any = None,
    residual_colormap: Any = "RdBu_r",
    percentile: float = 99.5,
    stretch: str = "asinh",
    components: bool = False,
    scale: tuple[float, float] = (1.0, 1.0),
    grid: Mapping[str, Any] = MappingProxyType({}),
) -> Figure:
    """Draw data, model, residuals and radial profiles of one fit; of a failed one, its message.

    Parameters
    ----------
    images : ModelImages or FailedFit
        The images of the fit.
    new_figure : callable
        Makes a figure of a size, width and height in inches.
    colormap, model_colormap, residual_colormap : str or matplotlib.colors.Colormap
        Of the data, of the model and its components (by default that of the data), and of the residuals.
    percentile : float
        Data and model are shown between this percentile of the used pixels and its opposite.
    stretch : str
        How brightness is mapped to colour: ``asinh``, ``linear``, ``log`` or ``sqrt``.
    components : bool
        Whether to add a panel for each component.
    scale : tuple of float
        Factors on width and height of the figure.
    grid : mapping
        Arguments of `matplotlib.gridspec.GridSpec` in the place of those that are set here.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ConfigError
        If an option is out of range.
    """
    if stretch not in STRETCHES:
        raise ConfigError(f"stretch: there is no {stretch!r}{nearest(stretch, STRETCHES)}")
    if not 50 < percentile <= 100:
        raise ConfigError(f"percentile must lie in (50, 100], got {percentile}")
    if not min(scale) > 0:
        raise ConfigError(f"the size of a figure must be positive, got {scale} times the usual one")
    colours = {"colormap": colormap, "model_colormap": colormap if model_colormap is None else model_colormap}
    colours["residual_colormap"] = residual_colormap
    _check_colormaps(colours)
    if isinstance(images, FailedFit):
        figure = new_figure((6.4, 3.2))
        _draw_failure(figure, images.header)
        return figure
    fit = Planes(images)
    extra = fit.components if components else {}
    rows = 1 + math.ceil(len(extra) / 4)
    figure = new_figure((17 * scale[0], (TITLE_HEIGHT + ROW_HEIGHT * rows) * scale[1]))
    _draw_fit(
        figure, fit, extra, rows, list(colours.values()), normalisation(fit, percentile, stretch), percentile, grid
    )
    return figure


def _check_colormaps(given: Mapping[str, Any]) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import Colormap

    for key, value in given.items():
        if not isinstance(value, Colormap) and value not in colormaps:
            raise ConfigError(f"{key}: there is no {value!r}{nearest(str(value), list(colormaps))}")


class Planes:
    """The images of one fit, and where their pixels lie."""

    def __init__(self, images: ModelImages) -> None:
        from astropy.wcs import WCS

        self.title = _title(images.header)
        self.data, self.model, self.residual, self.sigma = (
            plane.astype(float) for plane in (images.data, images.model, images.residual, images.sigma)
        )
        self.components = {label: plane.astype(float) for label, plane in images.components}
        self.used = (images.mask > 0) & np.isfinite(self.data) & np.isfinite(self.sigma) & (self.sigma > 0)
        self.unit = str(images.header.get("BUNIT") or images.plane_header.get("BUNIT") or "")
        self.wcs: WCS | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = WCS(images.plane_header)
            if wcs.has_celestial:
                self.wcs = wcs.celestial
        #: Size of a pixel, arcsec.
        self.scale: float | None = None
        given = images.header.get("PIXSCALE", images.plane_header.get("PIXSCALE"))
        if self.wcs is not None:
            from astropy.wcs.utils import proj_plane_pixel_area

            self.scale = 3600 * math.sqrt(proj_plane_pixel_area(self.wcs))
        elif float(given or 0) > 0:
            self.scale = float(given)


def _title(header: Mapping[str, Any]) -> str:
    """Return the names of target and model, and how good the fit is."""
    parts = [" · ".join(str(header[key]) for key in ("TARGET", "MODELNAM") if header.get(key))]
    for key, text in (
        ("CHI2RED", "reduced χ² = {:.3f}"),
        ("CHI2SRC", "χ² on source = {:.3f}"),
        ("LOGZ", "ln Z = {:.1f}"),
    ):
        value = header.get(key)
        if isinstance(value, (int, float)) and math.isfinite(value):
            parts.append(text.format(value))
    return "      ".join(part for part in parts if part)


def _draw_failure(figure: Figure, header: Mapping[str, Any]) -> None:
    message = str(header.get("MESSAGE") or "no reason was given")
    lines = textwrap.wrap(" ".join(message.split()), 68) or [""]
    if len(lines) > 11:
        lines = [*lines[:10], "…"]
    figure.text(0.05, 0.9, _title(header), fontsize=12, fontweight="bold", va="top", parse_math=False)
    figure.text(0.05, 0.77, "The fit failed:", fontsize=11, color=MODEL, va="top")
    figure.text(0.05, 0.67, "\n".join(lines), fontsize=10, va="top", linespacing=1.4, parse_math=False)


def normalisation(fit: Planes, percentile: float, stretch: str) -> Normalize:
    """Return the mapping of brightness to colour that data and model share."""
    from astropy.visualization import AsinhStretch, ImageNormalize, LinearStretch, LogStretch, SqrtStretch

    values, low, high = fit.data[fit.used], 0.0, 1.0
    if values.size:
        low, high = (float(x) for x in np.percentile(values, [100 - percentile, percentile]))
    if not high > low:
        low, high = low - 0.5, low + 0.5
    noise = float(np.median(fit.sigma[fit.used])) if values.size else 1.0
    ways = {
        # Linear up to a few times the noise, logarithmic beyond.
        "asinh": AsinhStretch(min(max(3 * noise / (high - low), 1e-3), 1.0)),
        "linear": LinearStretch(),
        "log": LogStretch(),
        "sqrt": SqrtStretch(),
    }
    return ImageNormalize(vmin=low, vmax=high, stretch=ways[stretch], clip=False)


def _draw_fit(
    figure: Figure,
    fit: Planes,
    extra: dict[str, np.ndarray],
    rows: int,
    colormaps: list[Any],
    norm: Normalize,
    percentile: float,
    given: Mapping[str, Any],
) -> None:
    from matplotlib.colors import Normalize

    # Placed by hand: matplotlib's own layout would take as long again as all the drawing.
    height = figure.get_figheight()
    figure.suptitle(fit.title, fontsize=15, parse_math=False, y=1 - 0.12 / height, va="top")
    edges = {"left": 0.055, "right": 0.99, "bottom": 0.1 / height, "top": 1 - (TITLE_HEIGHT + 0.3) / height}
    grid = figure.add_gridspec(rows, 4, **{"wspace": 0.27, "hspace": 0.14, **edges, **given})
    pulls = np.divide(fit.residual, fit.sigma, out=np.full(fit.data.shape, np.nan), where=fit.used)
    size = np.abs(pulls[fit.used & np.isfinite(pulls)])
    least, most = RESIDUAL_LIMITS
    limit = min(max(float(np.percentile(size, percentile)), least), most) if size.size else least
    panels = [
        ("data", fit.data, colormaps[0], norm, True, fit.unit),
        ("model", fit.model, colormaps[1], norm, False, fit.unit),
        ("(data − model) / σ", pulls, colormaps[2], Normalize(-limit, limit), True, "σ"),
    ]
    panels += [(label, plane, colormaps[1], norm, False, fit.unit) for label, plane in extra.items()]
    cells = [0, 1, 2, *range(4, 4 + len(extra))]
    for cell, (title, plane, colours, scale, hide, unit) in zip(cells, panels, strict=True):
        axes = figure.add_subplot(grid[cell // 4, cell % 4], **({"projection": fit.wcs} if fit.wcs else {}))
        axes.set_title(title, fontsize=13, parse_math=False)
        _draw_plane(figure, axes, fit, plane, colours, scale, hide, unit)
        _label_axes(axes, fit, first=cell % 4 == 0)
    # As high as the panels above their colour bars.
    _draw_profile(figure.add_subplot(grid[0, 3].subgridspec(2, 1, height_ratios=(4, 1))[0]), fit)


def _draw_plane(
    figure: Figure, axes: Axes, fit: Planes, plane: np.ndarray, colours: Any, norm: Normalize, hide: bool, unit: str
) -> None:
    """Draw one image with its colour bar; masked pixels are grey and hatched where `hide` says so."""
    rows, cols = plane.shape
    extent = (-0.5, cols - 0.5, -0.5, rows - 0.5)
    if fit.wcs is None and fit.scale is not None:  # offsets from the centre of the array, east to the left
        extent = (cols / 2 * fit.scale, -cols / 2 * fit.scale, -rows / 2 * fit.scale, rows / 2 * fit.scale)
    shown = np.where(fit.used, plane, np.nan) if hide else plane
    axes.set_facecolor(MASKED)
    image = axes.imshow(shown, origin="lower", cmap=colours, norm=norm, extent=extent, interpolation="nearest")
    if hide and not fit.used.all():
        from matplotlib.collections import PolyCollection

        x = np.linspace(extent[0], extent[1], cols + 1)
        y = np.linspace(extent[2], extent[3], rows + 1)
        squares = [
            [(x[j], y[i]), (x[j + n], y[i]), (x[j + n], y[i + 1]), (x[j], y[i + 1])] for i, j, n in runs_of(~fit.used)
        ]
        hatch = PolyCollection(squares, facecolor="none", edgecolor="0.45", linewidth=0, hatch="//////")
        axes.add_collection(hatch, autolim=False)
    known = shown[np.isfinite(shown)]
    low, high = (bool(known.size and test) for test in (np.any(known < norm.vmin), np.any(known > norm.vmax)))
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[low, high]
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.9, aspect=28, pad=0.14, extend=extend)
    if unit != "σ":
        bar.set_ticks(_spread_ticks(norm))
    bar.ax.tick_params(labelsize=10)
    bar.ax.minorticks_off()
    bar.set_label(unit, fontsize=11)


def runs_of(mask: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the horizontal runs of true pixels: row, first column, length."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    return [(int(i), int(j), int(end - j)) for (i, j), (_, end) in zip(starts, ends, strict=True)]


def _spread_ticks(norm: Any) -> list[float]:
    """Return round values that lie about evenly along a stretched colour bar."""
    low, high = float(norm.vmin), float(norm.vmax)
    ticks: list[float] = []
    for place in np.linspace(0.02, 0.98, 6):
        wanted = float(np.asarray(norm.inverse(place)))
        reach = abs(float(np.asarray(norm.inverse(min(place + 0.08, 1.0)) - norm.inverse(max(place - 0.08, 0.0)))))
        step = 10.0 ** math.floor(math.log10(reach))
        tick = round(wanted / step) * step
        if low <= tick <= high and not any(math.isclose(tick, other, abs_tol=step / 2) for other in ticks):
            ticks.append(float(f"{tick:.6g}"))
    return ticks


def _label_axes(axes: Any, fit: Planes, first: bool) -> None:
    """Name the axes: RA and Dec, offsets or pixels. What the first panel of a row says, others leave out."""
    if fit.wcs is not None:
        lon, lat = axes.coords[0], axes.coords[1]
        axes.coords.grid(color="white", alpha=0.25, linewidth=0.6)
        for coordinate, name in ((lon, "RA"), (lat, "Dec")):
            coordinate.set_ticklabel(size=9, exclude_overlapping=True)
            coordinate.set_axislabel(name if first else "", fontsize=11, minpad=0.5)
            coordinate.set_ticks(number=4)
        return
    axes.tick_params(labelsize=10)
    axes.set_xlabel("ΔRA [arcsec]" if fit.scale else "x [pixel]", fontsize=11)
    if first:
        axes.set_ylabel("ΔDec [arcsec]" if fit.scale else "y [pixel]", fontsize=11)


def annuli(largest: float) -> np.ndarray:
    """Return edges of annuli: one pixel wide at first, then wider by a seventh each.

    Parameters
    ----------
    largest : float
        Radius that the last of them reaches, pixels.

    Returns
    -------
    ndarray, shape (n + 1,)
        Pixels.
    """
    edges = [0.0, 0.5, 1.5]
    while edges[-1] < largest:
        edges.append(edges[-1] + max(1.0, edges[-1] / 7))
    return np.array(edges)


def _draw_profile(axes: Axes, fit: Planes) -> None:
    """Draw means over the used pixels of annuli around the model's brightest pixel.

    Not medians: in an annulus of an elongated galaxy, noise moves the median of the data away from the model's.
    """
    finite = np.where(np.isfinite(fit.model), fit.model, -np.inf)
    row, col = np.unravel_index(int(np.argmax(finite)), finite.shape)
    radius = np.hypot(np.arange(finite.shape[0])[:, None] - row, np.arange(finite.shape[1])[None, :] - col)
    bins = np.digitize(radius, annuli(min(float(radius.max()), max(finite.shape) / 2))) - 1
    chosen = [fit.used & (bins == k) for k in range(int(bins.max()))]  # the last bin is all that lies beyond
    chosen = [pixels for pixels in chosen if pixels.any()]
    axes.set_title("radial profile (mean)", fontsize=13)
    axes.tick_params(labelsize=10)
    axes.set_xlabel("radius [arcsec]" if fit.scale else "radius [pixel]", fontsize=11)
    axes.set_ylabel(fit.unit or "brightness", fontsize=11, parse_math=False)
    if not chosen:
        return

    def means(plane: np.ndarray) -> np.ndarray:
        return np.array([np.mean(plane[pixels]) for pixels in chosen])

    errors = np.sqrt(means(fit.sigma**2) / np.array([pixels.sum() for pixels in chosen]))
    x, data, model = means(radius) * (fit.scale or 1.0), means(fit.data), means(fit.model)
    style: dict[str, Any] = {"fmt": "o", "color": DATA, "ecolor": "0.5", "markersize": 4, "elinewidth": 1, "capsize": 0}
    axes.errorbar(x, data, yerr=errors, label="data", zorder=3, **style)
    axes.plot(x, model, color=MODEL, linewidth=2, label="model", zorder=4)
    for k, (label, plane) in enumerate(fit.components.items()):
        colour = COLOURS[k % len(COLOURS)]
        axes.plot(x, means(plane), color=colour, linestyle="--", linewidth=1.4, label=label)
    top = float(max(data.max(), model.max()))
    floor = float(np.median(errors[-5:]))
    if top > 0:
        axes.set_yscale("log", nonpositive="clip")
        positive = [float(v) for v in (*data, *model) if v > 0]
        axes.set_ylim(max(min(min(positive), floor) / 2, top * 1e-5), top * 2)
    axes.set_xlim(left=-0.02 * float(x.max()), right=1.03 * max(float(x.max()), 1e-9))
    axes.grid(alpha=0.25, linewidth=0.6)
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda k: names[k] != "data")
    legend = axes.legend([handles[k] for k in order], [names[k] for k in order], fontsize=10, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
