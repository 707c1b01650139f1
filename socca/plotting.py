"""Figures: one fit beside its image, and a survey of simulations beside the truth. Never pyplot: no global state."""

from __future__ import annotations

import math
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import ConfigError, DataError, nearest
from socca.fits import atomic_path, open_fits

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.wcs import WCS
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

__all__ = ["STRETCHES", "comparison_figure", "recovery_figure"]

#: Ways to map brightness to colour.
STRETCHES = ("asinh", "linear", "log", "sqrt")
#: Limits between which the residuals' colour scale ends, in sigma.
RESIDUAL_LIMITS = (3.0, 10.0)
#: Colours of data, model and components in profiles, and of masked pixels.
DATA, MODEL, MASKED = "0.15", "#d1495b", "0.82"
COMPONENTS = ("#2e86ab", "#3d9970", "#8e5ea2", "#e08e2b", "#6b7a8f", "#b5651d")


def comparison_figure(
    model_fits: str | Path,
    output: str | Path,
    *,
    colormap: str = "viridis",
    percentile: float = 99.5,
    stretch: str = "asinh",
    dpi: float = 100,
    components: bool = False,
) -> None:
    """Draw data, model, residuals and radial profiles of one fit; of a failed one, its message.

    Parameters
    ----------
    model_fits : str or Path
        The file of images that a fit wrote.
    output : str or Path
        The figure; its ending says which format (``.png``, ``.pdf``, …).
    colormap : str
        Of data and model, by matplotlib's name.
    percentile : float
        Data and model are shown between this percentile of the used pixels and its opposite.
    stretch : str
        How brightness is mapped to colour: ``asinh``, ``linear``, ``log`` or ``sqrt``.
    dpi : float
        Dots per inch.
    components : bool
        Whether to add a panel for each component.

    Raises
    ------
    ConfigError
        If an option is unknown or out of range.
    DataError
        If the file cannot be read.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    if stretch not in STRETCHES:
        raise ConfigError(f"stretch: there is no {stretch!r}{nearest(stretch, STRETCHES)}")
    if not 50 < percentile <= 100:
        raise ConfigError(f"percentile must lie in (50, 100], got {percentile}")
    if colormap not in colormaps:
        raise ConfigError(f"colormap: there is no {colormap!r}{nearest(colormap, list(colormaps))}")
    fit = _Planes(Path(model_fits))
    if fit.failed:
        figure = Figure(figsize=(6.4, 3.2))
        _draw_failure(figure, fit)
    else:
        extra = fit.components if components else {}
        rows = 1 + math.ceil(len(extra) / 4)
        figure = Figure(figsize=(17, 0.45 + 4.55 * rows), layout="constrained")
        _draw_fit(figure, fit, extra, rows, colormap, _normalisation(fit, percentile, stretch), percentile)
    _save(figure, Path(output), dpi)


def _save(figure: Figure, output: Path, dpi: float) -> None:
    with atomic_path(output) as temporary:
        try:
            figure.savefig(temporary, dpi=dpi, facecolor="white")
        except ValueError as error:
            if "is not supported" not in str(error):
                raise
            raise ConfigError(f"{output}: {error}") from None


class _Planes:
    """The images of one fit, as its file holds them."""

    def __init__(self, path: Path) -> None:
        from astropy.wcs import WCS

        with open_fits(path, "model") as hdus:
            self.header = hdus[0].header.copy()
            self.failed = self.header.get("STATUS") == "failed"
            if self.failed:
                return
            try:
                planes = {name: np.array(hdus[name].data) for name in ("DATA", "MODEL", "RESIDUAL", "SIGMA", "MASK")}
            except KeyError as error:
                raise DataError(f"model: {path} has no image {error}") from None
            self.components = {
                str(hdu.header["COMPONENT"]): np.array(hdu.data, float) for hdu in hdus if "COMPONENT" in hdu.header
            }
            plane_header = hdus["DATA"].header.copy()
        self.data, self.model, self.residual, self.sigma = (
            planes[name].astype(float) for name in ("DATA", "MODEL", "RESIDUAL", "SIGMA")
        )
        self.used = (planes["MASK"] > 0) & np.isfinite(self.data) & np.isfinite(self.sigma) & (self.sigma > 0)
        self.unit = str(self.header.get("BUNIT") or plane_header.get("BUNIT") or "")
        self.wcs: WCS | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = WCS(plane_header)
            if wcs.has_celestial:
                self.wcs = wcs.celestial
        #: Size of a pixel, arcsec.
        self.scale: float | None = None
        if self.wcs is not None:
            from astropy.wcs.utils import proj_plane_pixel_area

            self.scale = 3600 * math.sqrt(proj_plane_pixel_area(self.wcs))
        elif float(self.header.get("PIXSCALE", plane_header.get("PIXSCALE")) or 0) > 0:
            self.scale = float(self.header.get("PIXSCALE", plane_header.get("PIXSCALE")))

    @property
    def title(self) -> str:
        """Name of target and model, and how good the fit is."""
        header = self.header
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


def recovery_figure(table: Table, output: str | Path) -> None:
    raise NotImplementedError
