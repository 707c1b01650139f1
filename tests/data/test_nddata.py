"""Images from astropy's NDData and CCDData: mask, uncertainty, WCS and PSF are used."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS
from astropy.wcs.wcsapi import HighLevelWCSWrapper
from astropy.wcs.wcsapi.wrappers import SlicedLowLevelWCS

from socca.data import Image
from socca.errors import DataError
from socca.noise import Normal

SHAPE = (30, 31)
VALUES = np.random.default_rng(0).normal(0, 1, SHAPE)
HIDDEN = np.zeros(SHAPE, bool)
HIDDEN[:5] = True


def ccd(**kwargs):
    return CCDData(VALUES, unit="adu", mask=HIDDEN, **kwargs)


@pytest.mark.parametrize("source", ["header", "plain", "wcs", "both", "nddata"])
def test_the_mask_is_used(make_header, source):
    header = make_header(SHAPE, ra=33.0, dec=-5.0, sip=3.0)
    given = {
        "header": ccd(header=header),
        "plain": ccd(meta={"EXPTIME": 3.0, "a long key": [1, 2]}),
        "wcs": ccd(wcs=WCS(header)),
        "both": ccd(header=header, wcs=WCS(header)),
        "nddata": NDData(VALUES, mask=HIDDEN),
    }[source]
    on_sky = source in ("header", "wcs", "both")
    image = Image(given, pixel_scale=None if on_sky else 0.2)
    np.testing.assert_array_equal(image.mask == 0, HIDDEN)
    np.testing.assert_array_equal(image.data[~HIDDEN], VALUES[~HIDDEN])
    if on_sky:
        wanted = Image(fits.PrimaryHDU(VALUES, header)).frame
        np.testing.assert_allclose(image.frame.plane(*np.indices(SHAPE)), wanted.plane(*np.indices(SHAPE)), atol=1e-12)


@pytest.mark.parametrize(
    "uncertainty",
    [
        StdDevUncertainty(np.full(SHAPE, 3.0)),
        VarianceUncertainty(np.full(SHAPE, 9.0)),
        InverseVariance(np.full(SHAPE, 1 / 9)),
        StdDevUncertainty(np.full(SHAPE, 3000.0), unit=u.Unit("adu") / 1000),
    ],
)
def test_the_uncertainty_is_the_noise(uncertainty):
    image = Image(ccd(uncertainty=uncertainty), pixel_scale=0.2, csize=20)
    assert image.shape == (20, 20)
    used = image.mask > 0
    np.testing.assert_allclose(image.noise.sigma(image)[used], 3.0, rtol=1e-14)
    # What is given beside it comes first.
    other = Image(ccd(uncertainty=uncertainty), noise=Normal(sigma=2.0), pixel_scale=0.2)
    assert np.all(other.noise.sigma(other)[other.mask > 0] == 2.0)


def test_what_cannot_be_used_is_refused():
    with pytest.raises(DataError, match=r"uncertainty is of type 'unknown'.*noise="):
        Image(NDData(VALUES, uncertainty=UnknownUncertainty(np.ones(SHAPE))), pixel_scale=0.2)
    with pytest.raises(DataError, match=r"its mask has shape \(4, 5\)"):
        Image(NDData(VALUES, mask=np.zeros((4, 5), bool)), pixel_scale=0.2)


def test_a_wcs_that_no_header_holds_is_refused(make_header):
    sliced = SlicedLowLevelWCS(WCS(make_header(SHAPE)), np.s_[:, :])
    with pytest.raises(DataError, match="image: its WCS is a SlicedLowLevelWCS; only WCS of FITS headers"):
        Image(NDData(VALUES, wcs=HighLevelWCSWrapper(sliced)))


def test_the_psf_is_used(make_psf):
    image = Image(NDData(VALUES, psf=make_psf()), pixel_scale=0.2)
    np.testing.assert_allclose(image.psf, make_psf(), rtol=1e-14)
    other = Image(NDData(VALUES, psf=make_psf()), pixel_scale=0.2, addpsf={"img": make_psf((5, 5))})
    assert other.psf.shape == (5, 5)


def test_nddata_in_other_roles():
    image = Image(
        VALUES,
        exposure=NDData(np.ones(SHAPE), mask=HIDDEN),
        noise=Normal(sigma=CCDData(np.abs(VALUES), unit="adu")),
        pixel_scale=0.2,
    )
    np.testing.assert_array_equal(image.mask == 0, HIDDEN)
    np.testing.assert_array_equal(image.noise.sigma(image)[~HIDDEN], np.abs(VALUES)[~HIDDEN])
    # Of a mask, what is masked in it has no value, and is bad.
    flags = np.zeros(SHAPE)
    flags[10, 11] = 4
    image.addmask(NDData(flags, mask=np.broadcast_to(np.arange(31) > 25, SHAPE)), good="zero")
    np.testing.assert_array_equal(image.mask == 0, HIDDEN | (flags > 0) | (np.arange(31) > 25))
