"""HDUs in the table and the config, bit planes, and limits, from the config to the image."""

import csv

import numpy as np
import pytest
import yaml
from astropy.io import fits

from socca.errors import ConfigError, DataError
from socca.survey.check.inputs import check_survey
from socca.survey.config.build_image import build_image
from socca.survey.config.schema import validate_config
from socca.survey.config.sections import MaskConfig
from socca.survey.freshness.input_files import described
from socca.survey.jobs.fit_targets import fit_all
from socca.survey.survey import Survey

SHAPE = (31, 33)
FLAGS = np.zeros(SHAPE, "i4")
FLAGS[8:20, 8:20], FLAGS[3, 4] = 32, 1
SEGMENTS = np.zeros(SHAPE, "i4")
SEGMENTS[10:20, 10:20], SEGMENTS[2:4, 25:28] = 7, 3
MODEL = {"sky": {"components": {"sky": {"type": "Background", "a0": {"normal": [0, 10]}}}}}


@pytest.fixture
def survey(tmp_path, make_psf):
    """Give a function that makes a survey of one target, all of whose images are in one file."""
    rng = np.random.default_rng(4)
    planes = {
        "OLD": np.full(SHAPE, np.nan),
        "SCI": rng.normal(scale=2, size=SHAPE),
        "ERR": np.full(SHAPE, 2.0),
        "DQ": FLAGS,
        "SEG": SEGMENTS,
        "PSF": make_psf((5, 5)),
    }
    hdus = [fits.ImageHDU(plane, name=name) for name, plane in planes.items()]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "all.fits")

    def make(images=None, noise=None, /, **row):
        row = {"target": "t", **row}
        with (tmp_path / "targets.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, row)
            writer.writeheader()
            writer.writerow(row)
        settings = {"survey": "s", "targets": "targets.csv", "output": str(tmp_path / "results"), "models": MODEL}
        settings |= {"image": {"pixel_scale": "0.2 arcsec", **(images or {})}, "noise": noise or {}}
        settings |= {"sampler": {"method": "optimizer", "options": {"n_draws": 50, "n_starts": 1, "n_samples": 100}}}
        settings["outputs"] = {"model_images": "none", "figures": "none"}
        (tmp_path / "survey.yaml").write_text(yaml.safe_dump(settings))
        return Survey.load(tmp_path / "survey.yaml")

    return make


ROW = {
    "image": "all.fits[SCI]",
    "sigma": "all.fits[ERR,1]",
    "mask": "all.fits[4]",
    "segmentation": "all.fits[SEG]",
    "segment": 7,
    "psf": "all.fits[PSF]",
}


def checked(image):
    assert image.psf.shape == (5, 5)
    np.testing.assert_array_equal(image.mask == 0, (FLAGS == 1) | (SEGMENTS == 3))
    assert np.all(image.noise.sigma(image)[image.mask > 0] == 2.0)


def test_hdus_in_the_table(survey, tmp_path):
    made = survey({"mask": {"bits": [0, 4]}}, **ROW)
    checked(build_image(made.target("t"), made.config))
    # Each file is one that there is, whatever part of it is read.
    assert set(made.files("t").values()) == {tmp_path / "all.fits"}
    assert all(entry.sha256 for entry in described(made.files("t")).values())
    assert list(check_survey(made)) == []
    assert [outcome.status for outcome in fit_all(made, made.jobs())] == ["done"]


def test_hdus_in_the_config(survey):
    image = {"hdu": "SCI", "mask": {"hdu": 4, "bits": [0, 4]}, "segmentation": {"hdu": "SEG,1"}, "psf": {"hdu": "PSF"}}
    row = {key: "all.fits" if key != "segment" else 7 for key in ROW}
    made = survey(image, {"hdu": "ERR"}, **row)
    checked(build_image(made.target("t"), made.config))
    # What a row says of its own file comes before what the config says of all.
    other = survey({**image, "hdu": "OLD"}, {"hdu": "PSF"}, **(row | {"image": ROW["image"], "sigma": ROW["sigma"]}))
    checked(build_image(other.target("t"), other.config))


def test_the_hdu_of_a_file_of_the_noise(survey, tmp_path):
    fits.append(tmp_path / "all.fits", np.random.default_rng(1).normal(size=(40, *SHAPE)), fits.Header())
    fits.append(tmp_path / "all.fits", np.ones(SHAPE), fits.Header({"EXTNAME": "WINDOW"}))
    noise = {"kind": "normal_fourier", "cube": "all.fits[7]", "apodization": "all.fits[WINDOW]", "hdu": 2}
    made = survey(None, noise, image="all.fits[SCI]")
    image = build_image(made.target("t"), made.config)
    assert image.noise.source.shape == (40, *SHAPE)
    assert np.all(image.noise.apod == 1)
    assert set(made.files("t").values()) == {tmp_path / "all.fits"}


def test_brackets_without_an_hdu(survey):
    with pytest.raises(ConfigError, match=r"t: image: .*no HDU in the brackets"):
        survey(image="all.fits[]")


def test_without_bits_the_detected_source_is_masked(survey):
    made = survey(**(ROW | {"segment": 7}))
    image = build_image(made.target("t"), made.config)
    np.testing.assert_array_equal(image.mask == 0, (FLAGS != 0) | (SEGMENTS == 3))


@pytest.mark.parametrize(
    ("mask", "own"),
    [({"good": "nonzero"}, {"good": None, "bits": [0, 4]}), ({"bits": [0, 4]}, {"bits": None, "good": "nonzero"})],
)
def test_a_target_may_have_the_other_kind_of_mask(survey, mask, own):
    made = survey({"mask": mask}, image="all.fits[SCI]")
    assert made.config.image.mask.bits == mask.get("bits")
    config = made.config.model_copy(update={"overrides": {"t": {"image": {"mask": own}}}})
    found = config.for_target("t").image.mask
    assert (found.good, found.bits) == (("zero", [0, 4]) if own["bits"] else ("nonzero", None))
    # What is taken back is as what was never there.
    assert found.model_dump() == MaskConfig.model_validate({k: v for k, v in own.items() if v is not None}).model_dump()


def test_findings_name_what_is_there(survey):
    for segment, said in (
        (0, "segment 0 is the sky"),
        (5, "no pixel belongs to segment 5; there are 3, 7, and at the"),
    ):
        (finding,) = check_survey(survey(**(ROW | {"segment": segment})))
        assert said in finding.message


def test_the_limit_of_pixels(survey):
    made = survey({"max_pixels": 1000}, image="all.fits[SCI]")
    with pytest.raises(DataError, match=r"all\.fits, HDU 2 has 33 x 31 pixels, and the limit is 1e\+03"):
        build_image(made.target("t"), made.config)
    made = survey({"max_pixels": 1000, "cutout": {"size": "11 pix"}}, **ROW)
    assert build_image(made.target("t"), made.config).shape == (11, 11)
    assert list(check_survey(made)) == []


@pytest.mark.parametrize("frame", ["pixel", "auto"])
def test_the_pixel_frame_does_not_read_the_wcs(survey, tmp_path, make_header, frame):
    header = make_header(SHAPE)
    header.update({"CRVAL1": "ten hours", "CPDIS1": "LOOKUP", "PC1_1": 2.0})
    fits.PrimaryHDU(np.random.default_rng(1).normal(size=SHAPE), header).writeto(tmp_path / "bad.fits")
    fits.PrimaryHDU(FLAGS, header).writeto(tmp_path / "mask.fits")
    made = survey({"frame": frame, "cutout": {"size": "25 pix"}}, image="bad.fits", mask="mask.fits")
    if frame == "auto":
        (finding, *_) = check_survey(made)
        assert "CRVAL1 of its WCS is 'ten hours'" in finding.message
        return
    image = build_image(made.target("t"), made.config)
    assert image.wcs is None
    np.testing.assert_array_equal(image.mask == 0, (FLAGS != 0)[image.window])
    assert list(check_survey(made)) == []


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ({"bits": [4096]}, "less than or equal to 52"),
        ({"bits": []}, "at least 1"),
        ({"bits": [0], "good": "nonzero"}, "give good or bits, not both"),
    ],
)
def test_wrong_bits(config_data, mask, said):
    config_data["image"]["mask"] = mask
    with pytest.raises(ConfigError, match=said):
        validate_config(config_data, "survey.yaml")


def test_keys_that_came_later_change_no_digest_by_their_defaults(config_data):
    before = validate_config(config_data, "survey.yaml").fit_settings("t", "galaxy")["image"]
    assert "max_pixels" not in before
    assert "segmentation" not in before
    assert before["mask"] == {"hdu": None, "good": "zero"}
    config_data["image"] |= {"max_pixels": 1000, "segmentation": {"hdu": 2}, "mask": {"bits": [3]}}
    after = validate_config(config_data, "survey.yaml").fit_settings("t", "galaxy")["image"]
    assert (after["segmentation"], after["mask"]["bits"]) == ({"hdu": 2}, [3])
    assert "max_pixels" not in after  # which changes no result
