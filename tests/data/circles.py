"""An image of ones, a circle in it, and files that hold this circle."""

import numpy as np
from regions import CirclePixelRegion, PixCoord, RegionMeta

from socca.data import Image

SHAPE = (31, 37)
Y, X = np.indices(SHAPE)
CIRCLE = np.hypot(X - 10, Y - 12) < 4
RING = np.hypot(X - 10, Y - 12) < 6


def plain(**kwargs):
    return Image(np.ones(SHAPE), pixel_scale=0.2, **kwargs)


def masked(image, regions, **kwargs):
    image.addmask(regions, **kwargs)
    return image.mask == 0


def circle(x=10, y=12, r=4, **meta):
    return CirclePixelRegion(PixCoord(x, y), r, meta=RegionMeta(meta))


CRTF = "#CRTFv0 CASA Region Text Format version 0\n"
FILES = {
    "ds9.reg": "# Region file format: DS9 version 4.1\nglobal color=green width=1\nimage\ncircle(11,13,4)\n",
    "semicolons.ds9": "image; circle(11, 13, 4) # text={a; b} color=#fff",
    "upper.REG": "IMAGE\nCircle 11 13 4i\n",
    "crtf.crtf": CRTF + "circle[[10pix, 12pix], 4pix]\n",
    "crtf.reg": CRTF + "circle[[10pix, 12pix], 4pix]\n",
    "by_content.txt": "# Region file format: DS9\nimage\ncircle(11,13,4)\n",
    "by_shape": "# stars\n\nimage;circle(11,13,4)\n",
    "by_content": CRTF + "circle[[10pix, 12pix], 4pix]\n",
    "physical.reg": "physical\ncircle(11,13,4)\n",
    "decorated.reg": "image\ncircle(11,13,4) # tag={a} font=a font=b dash=7\n# vector(3,3,5,0)\nvector(3,3,5,0)\n",
}
