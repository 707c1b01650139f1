"""Maps on the pixels of an image: response, exposure, noise levels, segmentation."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from socca.data.cutout import part_like
from socca.data.fits import PlainInput, read_image
from socca.data.hdus import HduIndex
from socca.data.pixels import Window
from socca.errors import DataError


class MappedImage(Protocol):
    """What maps ask of the image that they belong to; see `socca.data.Image`."""

    original_shape: tuple[int, int]
    window: Window
    max_pixels: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""


def read_map(image: MappedImage, source: PlainInput, what: str, index: HduIndex | None = None) -> np.ndarray:
    """Read a number, or a map on the image's pixels: of a file of the whole image, the part that belongs to it.

    Parameters
    ----------
    image : Image
        The image that it belongs to.
    source : number, array, HDU, HDUList, NDData, str or Path
        Where it comes from.
    what : str
        What it is, for errors.
    index : int, str or tuple, optional
        Which HDU.

    Returns
    -------
    ndarray, shape (ny, nx) or ()
        Native float64.

    Raises
    ------
    DataError
        If it cannot be read, or has another shape.
    """
    part = part_like(image.original_shape, image.window)
    found = read_image(source, index, what, part=part, max_pixels=image.max_pixels)
    return matching(image, found.data, what) if found.data.ndim else found.data


def matching(image: MappedImage, plane: np.ndarray, what: str) -> np.ndarray:
    """Return an array on the image's pixels, cut like the image if it has the shape from before the cutout.

    Parameters
    ----------
    image : Image
        The image that it belongs to.
    plane : ndarray
        Of the shape of the image, or of the image as it was read.
    what : str
        What it is, for the error.

    Returns
    -------
    ndarray, shape (ny, nx)
        The array, or the part of it that belongs to the cutout.

    Raises
    ------
    DataError
        If it has another shape.
    """
    if plane.shape == image.shape:
        return plane
    if plane.shape == image.original_shape:
        return plane[image.window]
    cut = "" if image.shape == image.original_shape else f" (cut out of {image.original_shape})"
    raise DataError(f"{what}: its shape is {plane.shape}, the image's {image.shape}{cut}")


def throughput(plane: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Check a map that multiplies the model: the response or the exposure.

    Parameters
    ----------
    plane : ndarray, shape (ny, nx)
        The map as it was read.
    what : str
        What it is, for errors.

    Returns
    -------
    plane : ndarray, shape (ny, nx)
        The map, zero where it is not finite.
    known : ndarray of bool, shape (ny, nx)
        Where it is finite.

    Raises
    ------
    DataError
        If it is negative anywhere, or nowhere positive.
    """
    known = np.isfinite(plane)
    negative = int(np.sum(plane[known] < 0))
    if negative:
        raise DataError(f"{what}: it is negative in {negative} pixel(s); set them to NaN to have them masked")
    if not np.any(plane[known] > 0):
        raise DataError(f"{what}: it is nowhere positive")
    return np.where(known, plane, 0.0), known
