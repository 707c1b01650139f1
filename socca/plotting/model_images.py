"""Model images of a fit: FITS files with data, model, residual, noise, mask and components."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.posterior.pixelwise import median_and_std
from socca.utils.files import atomic_path

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.likelihood.problem import Problem
    from socca.models import Model
    from socca.posterior.posterior import Posterior


def write_model_images(
    path: str | Path,
    problem: Problem,
    image: Image,
    model: Model,
    theta: np.ndarray,
    header: dict[str, Any],
    rows: np.ndarray | None = None,
) -> None:
    """Write data, model, residual, noise, mask and components as one FITS file.

    Parameters
    ----------
    path : str or Path
        The file.
    problem : Problem
        Draws the model.
    image : Image
        Data, mask and WCS.
    model : Model
        Names of the components.
    theta : ndarray, shape (ndim,)
        The free parameters.
    header : dict
        For the primary header; None and what is not finite is left out.
    rows : ndarray, shape (n, ndim), optional
        Samples: model and components are then their medians, pixel by pixel, and a further image the deviation of the
        model. The noise is that at `theta`.
    """
    from astropy.io import fits

    total, sigma = problem.predict(theta)
    spread: list[tuple[str, np.ndarray, str | None]] = []
    if rows is not None:
        (total,), (deviation,) = median_and_std(problem, rows, ("expected",))
        spread = [("MODEL_STD", deviation, None)]
    wcs_header = image.wcs.to_header(relax=True) if image.wcs is not None else fits.Header()
    unit = image.hdu.header.get("BUNIT")
    if unit:
        wcs_header["BUNIT"] = unit
    planes: list[tuple[str, np.ndarray, str | None]] = [
        ("DATA", np.asarray(image.hdu.data, dtype=np.float64), None),
        ("MODEL", total, None),
        ("RESIDUAL", image.hdu.data - total, None),
        ("SIGMA", sigma, None),
        ("MASK", image.mask.astype(np.uint8), None),
        *spread,
    ]
    for k, label in enumerate(model.component_labels):
        if rows is None:
            plane = np.asarray(problem.render(theta, only=(k,), raw=False).total)
        else:
            plane = median_and_std(problem, rows, ("total",), only=(k,))[0][0]
        planes.append((label.upper(), plane, label))
    primary = fits.PrimaryHDU()
    for key, value in header.items():
        if isinstance(value, str) or (value is not None and math.isfinite(value)):
            primary.header[key] = value
    hdus = fits.HDUList([primary])
    for name, plane, component in planes:
        stored = plane if plane.dtype == np.uint8 else plane.astype(np.float32)
        hdu = fits.ImageHDU(stored, wcs_header.copy(), name=name)
        if component is not None:
            hdu.header["COMPONEN"] = (component, "component of the model")
        hdus.append(hdu)
    with atomic_path(path) as temporary:
        hdus.writeto(temporary, overwrite=True)


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
