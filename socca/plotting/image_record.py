"""Record of model images, for the FITS writer and the figure. It loads no JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.data.fits import open_fits
from socca.errors import DataError
from socca.utils.files import atomic_path

if TYPE_CHECKING:
    from astropy.io import fits


@dataclass(frozen=True, eq=False)
class ModelImages:
    """The images of one fit: what its FITS file holds, and what its figure shows.

    Parameters
    ----------
    header : mapping
        Of the fit: status, names, goodness of fit.
    plane_header : astropy.io.fits.Header
        Of each image: its WCS and unit.
    data, model, residual, sigma : ndarray, shape (ny, nx)
        Single precision, as in the file. The model is what the data are expected to be; sigma is inf where a pixel is
        not used.
    mask : ndarray of uint8, shape (ny, nx)
        1 where a pixel is used.
    components : sequence of (str, ndarray of shape (ny, nx))
        Labels and images; single precision.
    deviation : ndarray, shape (ny, nx), optional
        Standard deviation of the model over the posterior; single precision.
    maps : mapping of str to ndarray, shape (ny, nx)
        Further images by name; single precision. `read_model_images` leaves them out.
    """

    header: Mapping[str, Any]
    plane_header: fits.Header
    data: np.ndarray
    model: np.ndarray
    residual: np.ndarray
    sigma: np.ndarray
    mask: np.ndarray
    components: Sequence[tuple[str, np.ndarray]] = ()
    deviation: np.ndarray | None = None
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)

    def write(self, path: str | Path) -> None:
        """Write them as one FITS file: an extension each, and the header of the fit as the primary one."""
        planes = {"DATA": self.data, "MODEL": self.model, "RESIDUAL": self.residual, "SIGMA": self.sigma}
        planes["MASK"] = self.mask
        if self.deviation is not None:
            planes["MODEL_STD"] = self.deviation
        planes |= self.maps
        write_planes(path, self.header, self.plane_header, planes, self.components)


def write_planes(
    path: str | Path,
    header: Mapping[str, Any],
    plane_header: fits.Header,
    planes: Mapping[str, np.ndarray],
    components: Sequence[tuple[str, np.ndarray]] = (),
) -> None:
    """Write images as one FITS file.

    Parameters
    ----------
    path : str or Path
        The file.
    header : mapping
        Primary header.
    plane_header : astropy.io.fits.Header
        Of each image.
    planes : mapping of str to ndarray, shape (ny, nx)
        Name and content of each extension.
    components : sequence of (str, ndarray of shape (ny, nx))
        Labels and images of components, which come last.
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    primary.header.update(header)
    hdus = [fits.ImageHDU(plane, plane_header.copy(), name=name) for name, plane in planes.items()]
    for label, plane in components:
        hdus.append(fits.ImageHDU(plane, plane_header.copy(), name=label.upper()))
        hdus[-1].header["COMPONEN"] = (label, "component of the model")
    with atomic_path(path) as temporary:
        fits.HDUList([primary, *hdus]).writeto(temporary, overwrite=True)


@dataclass(frozen=True)
class FailedFit:
    """What a FITS file says that is where the model images of a failed fit would be.

    Parameters
    ----------
    header : mapping
        Of the fit: status, names, and why it failed.
    """

    header: Mapping[str, Any]


def read_model_images(path: str | Path) -> ModelImages | FailedFit:
    """Read what `ModelImages.write` or `socca.plotting.model_images.write_failed_images` wrote.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    ModelImages or FailedFit
        What is in it.

    Raises
    ------
    DataError
        If it cannot be read, or lacks an image.
    """
    with open_fits(path, "model") as hdus:
        header = dict(hdus[0].header)
        if header.get("STATUS") == "failed":
            return FailedFit(header)
        try:
            data, model, residual, sigma = (single(hdus[name].data) for name in ("DATA", "MODEL", "RESIDUAL", "SIGMA"))
            mask, plane_header = np.array(hdus["MASK"].data), hdus["DATA"].header.copy()
        except KeyError as error:
            raise DataError(f"model: {path} has no image {error}") from None
        components = [(str(hdu.header["COMPONEN"]), single(hdu.data)) for hdu in hdus if "COMPONEN" in hdu.header]
        deviation = single(hdus["MODEL_STD"].data) if "MODEL_STD" in hdus else None
    return ModelImages(header, plane_header, data, model, residual, sigma, mask, components, deviation)


def single(plane: Any) -> np.ndarray:
    """Return a plane in single precision, in which model images are kept; always a copy."""
    return np.array(plane, dtype=np.float32)
