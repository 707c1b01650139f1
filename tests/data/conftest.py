"""Fixtures that tests of masks share."""

import numpy as np
import pytest
from astropy.io import fits

from socca.data import Image
from tests.data.circles import SHAPE


@pytest.fixture
def sky(make_header):
    """Give a function that makes an image on the sky."""

    def make(**kwargs):
        return Image(fits.PrimaryHDU(np.ones(SHAPE), make_header(SHAPE, **kwargs)))

    return make
