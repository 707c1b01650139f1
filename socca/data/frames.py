"""Conversion between sky, field-plane and pixel coordinates.

Every image has a *field plane*: the plane that touches the sky at the centre of the image, with ``x`` to the east and
``y`` to the north, both in degrees. Pixels are (row, column), zero-based, whole numbers at pixel centres. A model is
rendered in the field plane; a frame maps it to pixels and to the sky.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from socca.errors import DataError

if TYPE_CHECKING:
    from astropy.wcs import WCS


class PixelGrid(NamedTuple):
    """Coordinates of the centres of all pixels.

    Attributes
    ----------
    x, y : ndarray, shape (ny, nx)
        RA and Dec or, in an image without a WCS, offsets to the east and north (degrees): as ``xc``, ``yc``.
    """

    x: np.ndarray
    y: np.ndarray


class Frame:
    """Where the pixels of an image lie.

    Attributes
    ----------
    on_sky : bool
        Whether ``xc, yc`` are RA and Dec (degrees) rather than offsets from the centre of the array.
    reference : tuple of float
        RA and Dec of the field plane's origin, or zeros.
    center : tuple of float
        ``xc, yc`` of the centre of the array.
    pixel_scale : float
        Geometric mean of the pixel's sides, degrees.
    """

    on_sky: bool
    reference: tuple[float, float]
    center: tuple[float, float]
    pixel_scale: float

    def plane(self, rows: Any, cols: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the field-plane coordinates of pixels.

        Parameters
        ----------
        rows, cols : array_like
            Pixel coordinates.

        Returns
        -------
        x, y : ndarray
            East and north of the field centre, degrees.
        """
        raise NotImplementedError

    def coordinates(self, rows: Any, cols: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of pixels as a model has them, ``xc, yc`` (degrees); the inverse of `to_pixel`."""
        raise NotImplementedError

    def to_plane(self, xc: Any, yc: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the field-plane coordinates of positions ``xc, yc`` (degrees)."""
        return project(np.asarray(xc, float), np.asarray(yc, float), self.on_sky, self.reference, np)

    def to_pixel(self, xc: Any, yc: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the (row, column) of positions ``xc, yc`` (degrees)."""
        raise NotImplementedError


class PixelFrame(Frame):
    """An image without a WCS: north up, east left, square pixels.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    pixel_scale : float
        Size of a pixel, degrees.
    """

    on_sky = False

    def __init__(self, shape: tuple[int, int], pixel_scale: float) -> None:
        self.reference = (0.0, 0.0)
        self.center = (0.0, 0.0)
        self.pixel_scale = float(pixel_scale)
        self._middle = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)

    def plane(self, rows: Any, cols: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the field-plane coordinates of pixels, as `Frame.plane`."""
        x = -(np.asarray(cols, float) - self._middle[1]) * self.pixel_scale
        y = (np.asarray(rows, float) - self._middle[0]) * self.pixel_scale
        return x, y

    def coordinates(self, rows: Any, cols: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the offsets of pixels from the centre of the array, as `plane`."""
        return self.plane(rows, cols)

    def to_pixel(self, xc: Any, yc: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the (row, column) of offsets ``xc, yc`` (degrees)."""
        rows = self._middle[0] + np.asarray(yc, float) / self.pixel_scale
        cols = self._middle[1] - np.asarray(xc, float) / self.pixel_scale
        return rows, cols


class SkyFrame(Frame):
    """An image with a celestial WCS, used whole: projection, CD or PC matrix, SIP distortion.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    wcs : astropy.wcs.WCS
        Celestial, two axes.

    Raises
    ------
    DataError
        If the centre of the image has no sky position.
    """

    on_sky = True

    def __init__(self, shape: tuple[int, int], wcs: WCS) -> None:
        self._wcs = _equatorial(wcs)
        middle = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
        ra, dec = self._sky(*middle)
        if not (np.isfinite(ra) and np.isfinite(dec)):
            raise DataError("image: its WCS gives no sky position for the centre of the array")
        self.reference = (float(ra), float(dec))
        self.center = self.reference
        jacobian = np.stack(
            [
                np.subtract(self.plane(middle[0] + 0.5, middle[1]), self.plane(middle[0] - 0.5, middle[1])),
                np.subtract(self.plane(middle[0], middle[1] + 0.5), self.plane(middle[0], middle[1] - 0.5)),
            ]
        )
        self.pixel_scale = float(np.sqrt(abs(np.linalg.det(jacobian))))
        if not self.pixel_scale > 0:
            raise DataError("image: its WCS gives pixels of no area")

    def _sky(self, rows: Any, cols: Any) -> tuple[np.ndarray, np.ndarray]:
        world = self._wcs.all_pix2world(np.asarray(cols, float), np.asarray(rows, float), 0)
        # A header may have declination before right ascension.
        return np.asarray(world[self._wcs.wcs.lng]), np.asarray(world[self._wcs.wcs.lat])

    def coordinates(self, rows: Any, cols: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return RA and Dec of pixels (degrees)."""
        return self._sky(rows, cols)

    def plane(self, rows: Any, cols: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the field-plane coordinates of pixels, as `Frame.plane`."""
        return project(*self._sky(rows, cols), True, self.reference, np)

    def to_pixel(self, xc: Any, yc: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the (row, column) of ``xc, yc`` = RA, Dec (degrees)."""
        world = [np.asarray(xc, float), np.asarray(yc, float)]
        if self._wcs.wcs.lng > self._wcs.wcs.lat:
            world.reverse()
        cols, rows = self._wcs.all_world2pix(*world, 0)
        return np.asarray(rows), np.asarray(cols)


def frame_of(wcs: WCS | None, shape: tuple[int, int], pixel_scale: float | None) -> Frame:
    """Return the frame of an image.

    Parameters
    ----------
    wcs : WCS or None
        Its celestial WCS.
    shape : tuple of int
        Rows and columns.
    pixel_scale : float or None
        Size of a pixel in arcsec: needed without a WCS, refused with one.

    Returns
    -------
    Frame
        On the sky with a WCS, else in pixels.

    Raises
    ------
    DataError
        If the scale is missing, wrong, or given beside a WCS; or if the WCS cannot be used.
    """
    if wcs is None:
        if pixel_scale is None:
            raise DataError("image: it has no celestial WCS, so pixel_scale (arcsec) is needed")
        if not (np.isfinite(pixel_scale) and pixel_scale > 0):
            raise DataError(f"image: pixel_scale must be positive, got {pixel_scale}")
        return PixelFrame(shape, pixel_scale / 3600)
    if pixel_scale is not None:
        raise DataError("image: it has a celestial WCS; pixel_scale is only for images without one")
    return SkyFrame(shape, wcs)


def _equatorial(wcs: WCS) -> WCS:
    if not wcs.wcs.lngtyp.strip().upper().startswith("RA"):
        raise DataError(
            f"image: its WCS is in {wcs.wcs.lngtyp}/{wcs.wcs.lattyp}; only equatorial coordinates (RA, Dec) are read"
        )
    return wcs


def project(x: Any, y: Any, on_sky: bool, reference: Any, xp: Any) -> tuple[Any, Any]:
    """Turn ``xc, yc`` into field-plane coordinates.

    Parameters
    ----------
    x, y : array
        RA and Dec, or offsets east and north (degrees).
    on_sky : bool
        Which of the two.
    reference : array, shape (2,)
        RA and Dec of the origin (degrees).
    xp : module
        `numpy` or `jax.numpy`.

    Returns
    -------
    x, y : array
        Degrees east and north. Offsets come back as they are; RA and Dec by the gnomonic projection
        (Calabretta & Greisen 2002, A&A 395, 1077, eqs. 54-57), written with half-angles so that nothing cancels.
        What lies 90 degrees away or more is not on the plane: NaN (see `is_behind`).
    """
    if not on_sky:
        return x, y
    rad = xp.pi / 180
    ra = (x - reference[0]) * rad
    dec, dec0 = y * rad, reference[1] * rad
    haversine = 2 * xp.sin(ra / 2) ** 2
    cos_distance = _cos_distance(ra, dec, dec0, xp)
    # Beyond the horizon the same formulas would give the mirror image of the other side of the sky.
    cos_distance = xp.where(cos_distance > 0, cos_distance, xp.nan)
    east = xp.cos(dec) * xp.sin(ra) / cos_distance
    north = (xp.sin(dec - dec0) + xp.sin(dec0) * xp.cos(dec) * haversine) / cos_distance
    return east / rad, north / rad


def _cos_distance(ra: Any, dec: Any, dec0: Any, xp: Any) -> Any:
    """Return the cosine of the distance on the sky; `ra` is the difference (radians)."""
    return xp.cos(dec - dec0) - xp.cos(dec) * xp.cos(dec0) * 2 * xp.sin(ra / 2) ** 2


def is_behind(ra: Any, dec: Any, reference: Any, xp: Any) -> Any:
    """Tell which positions lie 90 degrees or more from the centre of the field, where no image shows them.

    Parameters
    ----------
    ra, dec : array
        Positions, degrees. Of NaN the answer is no: it must be seen.
    reference : array, shape (2,)
        RA and Dec of the centre (degrees).
    xp : module
        `numpy` or `jax.numpy`.

    Returns
    -------
    bool array
        True where `project` has no result.
    """
    rad = xp.pi / 180
    return _cos_distance((ra - reference[0]) * rad, dec * rad, reference[1] * rad, xp) <= 0


def reaches_behind(ra: tuple[float, float], dec: tuple[float, float], reference: tuple[float, float]) -> bool:
    """Tell whether a range of positions reaches 90 degrees or more from the centre of the field.

    Parameters
    ----------
    ra, dec : tuple of float
        Lowest and highest of each, degrees.
    reference : tuple of float
        RA and Dec of the centre (degrees).

    Returns
    -------
    bool
        Whether any of the positions does.
    """
    low, high = ra[0] - reference[0], ra[1] - reference[0]
    opposite = np.floor((high - 180) / 360) * 360 + 180  # the highest below `high`
    farthest = opposite if opposite >= low else max(low, high, key=lambda at: -np.cos(np.radians(at)))
    south, north = (float(np.clip(at, -90, 90)) for at in dec)
    dec0 = np.radians(reference[1])
    # Along a meridian the cosine of the distance is itself a cosine: it is least at an end, or opposite to its peak.
    least = np.degrees(np.arctan2(np.sin(dec0), np.cos(dec0) * np.cos(np.radians(farthest)))) + 180
    ends = [south, north, *(at for at in (least, least - 360) if south <= at <= north)]
    return any(bool(is_behind(np.float64(reference[0] + farthest), np.float64(at), reference, np)) for at in ends)
