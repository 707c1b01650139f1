"""Model images of a fit: FITS files with data, model, residual, noise, mask and components."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.plotting.image_record import ModelImages, single
from socca.posterior.pixelwise import median_and_std
from socca.utils.files import atomic_path

if TYPE_CHECKING:
    from astropy.io import fits

    from socca.data.image import Image
    from socca.likelihood.problem import Problem
    from socca.models import Model
    from socca.posterior.posterior import Posterior


def draw_model_images(
    problem: Problem,
    image: Image,
    model: Model,
    theta: np.ndarray,
    header: dict[str, Any],
    rows: np.ndarray | None = None,
    only: tuple[int, ...] | None = None,
    maps: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> ModelImages:
    """Draw model and components, and compare them with the data.

    Parameters
    ----------
    problem : Problem
        Draws the model.
    image : Image
        Data, mask and WCS.
    model : Model
        Names of the components.
    theta : ndarray, shape (ndim,)
        The free parameters.
    header : dict
        What is said of the fit; None and what is not finite is left out.
    rows : ndarray, shape (n, ndim), optional
        Samples: model and components are then their medians, pixel by pixel, and a further image the deviation of the
        model. The noise is that at `theta`.
    only : tuple of int, optional
        Numbers of the components that are drawn; by default all.
    maps : mapping of str to ndarray, shape (ny, nx)
        Further images, by name.

    Returns
    -------
    ModelImages
        In the unit of the image.
    """
    total, sigma = problem.predict(theta)
    deviation = None
    if rows is not None:
        (total,), (spread,) = median_and_std(problem, rows, ("expected" if only is None else "total",), only)
        deviation = single(spread)
    elif only is not None:
        total = np.asarray(problem.render(theta, only, raw=False).total)
    # Not those of its file: a script may have assigned others.
    data = np.where(np.isfinite(image.hdu.data), image.data, np.nan)
    components = []
    for k, label in enumerate(model.component_labels):
        if only is not None and k not in only:
            continue
        if rows is None:
            plane = np.asarray(problem.render(theta, only=(k,), raw=False).total)
        else:
            plane = median_and_std(problem, rows, ("total",), only=(k,))[0][0]
        components.append((label, single(plane)))
    return ModelImages(
        {key: value for key, value in header.items() if _can_be_said(value)},
        plane_header_of(image),
        single(data),
        single(total),
        single(data - total),
        single(sigma),
        image.mask.astype(np.uint8),
        components,
        deviation,
        {name: single(plane) for name, plane in maps.items()},
    )


def plane_header_of(image: Image) -> fits.Header:
    """Return the header of images on the frame of another one: its WCS and unit."""
    from astropy.io import fits

    header = image.wcs.to_header(relax=True) if image.wcs is not None else fits.Header()
    unit = image.hdu.header.get("BUNIT")
    if unit:
        header["BUNIT"] = unit
    return header


def _can_be_said(value: Any) -> bool:
    return isinstance(value, str) or (value is not None and math.isfinite(value))


def write_model_images(
    path: str | Path,
    problem: Problem,
    image: Image,
    model: Model,
    theta: np.ndarray,
    header: dict[str, Any],
) -> None:
    """Draw model images and write them to a FITS file; arguments as those of `draw_model_images`."""
    draw_model_images(problem, image, model, theta, header).write(path)


def image_header(posterior: Posterior) -> dict[str, Any]:
    """Return what the primary header of a fit's model images says of it."""
    record = posterior.record
    scale = record.image.pixel_scale
    return {
        "STATUS": "done",
        "TARGET": record.target,
        "MODELNAM": record.model,
        "FINISHED": record.provenance.finished,
        "LOGZ": posterior.logz,
        "PIXSCALE": None if scale is None else scale * 3600,
        "CHI2RED": record.quality.chi2_red,
        "CHI2SRC": record.quality.chi2_source,
    }


def write_failed_images(path: str | Path, header: dict[str, Any]) -> None:
    """Write, where the model images would be, a FITS file that says why there are none."""
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    for key, value in header.items():
        # FITS headers hold printable ASCII only.
        primary.header[key] = (
            value.encode("ascii", "replace").decode().replace("\n", " ") if isinstance(value, str) else value
        )
    with atomic_path(path) as temporary:
        primary.writeto(temporary, overwrite=True)
