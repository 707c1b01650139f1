"""An image as plain values and arrays, and back: for files that keep a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from socca.data.fits import Plane, to_plane
from socca.data.image import Image

if TYPE_CHECKING:
    from socca.noise.base import NoiseModel

#: Attributes that are made from others, or kept apart.
_MADE = ("noise", "wcs", "frame", "hdu", "_tables")


def image_state(image: Image) -> dict[str, Any]:
    """Return all of an image but its noise, for `image_from_state`.

    Parameters
    ----------
    image : Image
        The image.

    Returns
    -------
    dict
        Numbers, text and arrays, by name.
    """
    own = {key: value for key, value in vars(image).items() if key not in _MADE}
    tables = [(hdu.data, _header_text(hdu.header)) for hdu in (vars(image)["_tables"] or [])[1:]]
    return {**own, "plane": image.hdu.data, "header": _header_text(image.hdu.header), "tables": tables}


def image_from_state(state: dict[str, Any], noise: NoiseModel) -> Image:
    """Return the image that `image_state` describes.

    Parameters
    ----------
    state : dict
        From `image_state`.
    noise : NoiseModel
        How the pixels scatter.

    Returns
    -------
    Image
        An equal one.
    """
    from astropy.io import fits

    own = dict(state)
    header, *headers = (
        fits.Header.fromstring(text, sep="\n") for text in (own.pop("header"), *(text for _, text in own["tables"]))
    )
    tables = [fits.ImageHDU(data, of) for (data, _), of in zip(own.pop("tables"), headers, strict=True)]
    plane = Plane(
        to_plane(own.pop("plane"), "image"),
        header,
        fits.HDUList([fits.PrimaryHDU(), *tables]) if tables else None,
    )
    image = Image(plane, noise=noise, pixel_scale=own["_pixel_scale"])
    vars(image).update(own)
    return image


def _header_text(header: Any) -> str:
    return str(header.tostring(sep="\n"))
