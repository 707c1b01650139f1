"""Images: FITS, frames, masks, PSF and cutouts."""

from socca.data.image import Image

__all__ = ["Image"]
