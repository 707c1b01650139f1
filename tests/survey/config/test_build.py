"""From config and table to image and problem: conventions, frames, positions and ties."""

import copy
import json
import math

import numpy as np
import pytest

from socca.errors import ConfigError, DataError, SoccaError
from socca.priors import uniform
from socca.survey.config.build_image import build_image
from socca.survey.config.build_model import build_model, build_problem
from socca.survey.config.schema import validate_config
from socca.survey.targets import from_columns

SHAPE = (15, 17)
SCALE = 0.2 / 3600
NOISE = np.random.default_rng(2).normal(0, 1, SHAPE)


@pytest.fixture
def build(tmp_path, config_data, write_fits):
    """Give a function that builds what it is asked for from a changed config and one row with the given columns."""

    def make(what="image", changes=None, components=None, header=None, data=NOISE, **columns):
        settings = copy.deepcopy(config_data) | (changes or {})
        settings["models"]["galaxy"]["components"] |= components or {}
        config = validate_config(settings, "survey.yaml")
        write_fits(tmp_path / "image.fits", data, header)
        for key, value in columns.items():
            if isinstance(value, np.ndarray):
                columns[key] = write_fits(tmp_path / f"{key}.fits", value).name
        row = {"target": "t", "image": "image.fits", **columns}
        target = from_columns({key: [value] for key, value in row.items()}, tmp_path, "table")["t"]
        image = build_image(target, config)
        if what == "image":
            return image
        return (build_model if what == "model" else build_problem)("galaxy", target, config, image)

    return make


@pytest.fixture
def mask():
    mask = np.zeros(SHAPE)
    mask[3:5, 2:9] = 1
    return mask


def test_mask_conventions(build, mask):
    for good, wanted in (("zero", mask == 0), ("nonzero", mask != 0)):
        settings = {"pixel_scale": 0.2, "mask": {"good": good}}
        assert np.array_equal(build(changes={"image": settings}, mask=mask).mask, wanted)
    assert np.array_equal(build(mask=mask).mask, mask == 0)  # the default


def test_pixels_that_are_not_finite_are_masked(build, mask):
    data = NOISE.copy()
    data[7, 7] = np.nan
    used = build(data=data, mask=mask).mask
    assert used[7, 7] == 0
    assert used.sum() == (mask == 0).sum() - 1


def test_neighbours_are_masked_and_the_sky_stays(build):
    segments = np.zeros(SHAPE, np.int16)
    segments[2:5, 2:5], segments[8:12, 8:12] = 3, 4
    used = build(segmentation=segments, segment=4).mask
    assert np.array_equal(used, segments != 3)
    with pytest.raises(DataError, match="no pixel belongs to segment 5"):
        build(segmentation=segments, segment=5)


@pytest.mark.parametrize(("form", "value"), [("sigma", 2.0), ("variance", 4.0), ("weight", 0.25)])
def test_noise_maps(build, form, value):
    image = build(**{form: np.full(SHAPE, value)})
    assert image.noise.sigma(image) == pytest.approx(2.0)


def test_noise_level_of_the_config(build):
    image = build(changes={"noise": {"level": "2 * $rms"}}, rms=1.5)
    assert image.noise.sigma(image) == pytest.approx(3.0)
    image = build(changes={"noise": {"level": "2 * $rms"}}, sigma=np.ones(SHAPE), rms=1.5)
    assert image.noise.sigma(image) == pytest.approx(1.0)  # a map goes before it


def test_psf_settings(build, make_psf):
    psf = make_psf((9, 9)) * 1.3
    image = build(psf=psf)
    assert image.psf.sum() == pytest.approx(1)
    assert image.psf_includes_pixel
    settings = {"normalize": False, "includes_pixel": False}
    image = build(psf=psf, changes={"image": {"pixel_scale": 0.2, "psf": settings}})
    assert image.psf == pytest.approx(psf)
    assert not image.psf_includes_pixel


def test_frames(build, make_header):
    sky = {"image": {"frame": "sky"}}
    pixel = {"image": {"frame": "pixel", "pixel_scale": 0.4}}
    auto = {"image": {"frame": "auto", "pixel_scale": 0.4}}
    header = make_header(SHAPE)
    for changes, head, on_sky in (
        (sky, header, True),
        (auto, header, True),
        (auto, None, False),
        (pixel, header, False),
        (pixel, None, False),
    ):
        frame = build(changes=changes, header=head).frame
        assert frame.on_sky == on_sky
        assert frame.pixel_scale == pytest.approx(SCALE if on_sky else 2 * SCALE, rel=1e-6)
    with pytest.raises(DataError, match=r"image\.fits has no celestial WCS, and the config wants the sky frame"):
        build(changes=sky)
    with pytest.raises(ConfigError, match=r"image\.pixel_scale is needed"):
        build(changes={"image": {}})


@pytest.mark.parametrize("scale", ["0.2 arcsec", "$scale arcsec", 0.2, "0.2", "$scale", "$scale * 1 arcsec", "200 mas"])
def test_pixel_scale(build, scale):
    image = build(changes={"image": {"pixel_scale": scale}}, scale=0.2)
    assert image.frame.pixel_scale == pytest.approx(SCALE, rel=1e-12)


def test_pixel_scale_from_an_expression_without_unit_is_arcsec_too(build):
    image = build(changes={"image": {"pixel_scale": "2 * $scale"}}, scale=0.1)
    assert image.frame.pixel_scale == pytest.approx(SCALE, rel=1e-12)


def test_positions_in_a_pixel_frame(build):
    disk, bulge, _ = build("model").components
    assert disk.xc.values == pytest.approx((-1 / 3600, 1 / 3600), rel=1e-12)
    assert disk.yc == disk.xc
    assert (bulge.xc.names, bulge.yc.names) == (("comp_00_xc",), ("comp_00_yc",))


@pytest.mark.parametrize("dec", [2.0, -60.0])
def test_positions_on_the_sky_reach_as_far_to_the_east(build, make_header, dec):
    header = make_header(SHAPE, dec=dec)
    place = {"center": ["$ra", "$dec"], "within": "2 arcsec"}
    settings = {"type": "Point", "position": place, "Ic": 1}
    point = build("model", {"image": {}}, {"point": settings}, header, ra=150.0001, dec=dec).components[-1]
    half = 2 / 3600 / np.cos(np.radians(dec))
    assert isinstance(point.xc, uniform)
    assert point.xc.values == pytest.approx((150.0001 - half, 150.0001 + half), rel=1e-14)
    assert point.yc.values == pytest.approx((dec - 2 / 3600, dec + 2 / 3600), rel=1e-14)


def test_within_in_pixels(build):
    disk = {"type": "Exponential", "position": {"within": "3 pix"}, "rs": "2 pix", "Is": 1}
    disk = build("model", components={"disk": disk}).components[0]
    assert disk.xc.values == pytest.approx((-3 * SCALE, 3 * SCALE), rel=1e-12)
    assert disk.rs == pytest.approx(2 * SCALE, rel=1e-12)


def test_values_of_a_problem(build):
    components = {"bulge": {"type": "Sersic", "position": "disk", "re": "disk.rs * 0.2", "Ie": "$f * disk.Is", "ns": 2}}
    problem, _ = build("problem", components=components, f=2.5)
    assert problem.labels == ["disk.xc", "disk.yc", "disk.theta", "disk.rs", "disk.Is", "sky.a0"]
    theta = problem.prior_transform([[0.3, 0.6, 0.5, 0.2, 0.7, 0.4], [0.9, 0.1, 0.2, 0.8, 0.1, 0.5]])
    found = {problem.all_labels[name]: value for name, value in problem.values(theta).items()}
    free = dict(zip(problem.labels, theta.T, strict=True))
    assert found["bulge.re"] == pytest.approx(0.2 * free["disk.rs"], rel=1e-12)
    assert found["bulge.Ie"] == pytest.approx(2.5 * free["disk.Is"], rel=1e-12)
    assert np.array_equal(found["bulge.xc"], free["disk.xc"])
    assert np.array_equal(found["bulge.yc"], free["disk.yc"])
    assert np.array_equal(found["disk.e"], [0.3, 0.3])
    assert found["disk.theta"][0] == pytest.approx(np.pi / 2)
    assert np.isfinite(problem.log_likelihood(theta)).all()


DISK = {"type": "Exponential", "xc": 0, "yc": 0, "rs": "1 arcsec", "Is": 1}
BAD = [
    ({"rs": "buldge.re * 2"}, ["models.galaxy.disk.rs", "no component 'buldge'", "'bulge'"]),
    ({"rs": "bulge.rr"}, ["models.galaxy.disk.rs", "bulge has no parameter 'rr'", "re, Ie"]),
    ({"rs": "bulge * 2"}, ["models.galaxy.disk.rs", "no component ''"]),
    ({"rs": {"uniform": ["bulge.re", 2]}}, ["models.galaxy.disk.rs", "cannot depend on other parameters (bulge.re)"]),
    ({"rs": "2 arcsex"}, ["models.galaxy.disk.rs", "unknown unit 'arcsex'", "'arcsec'"]),
    ({"e": "0.2 deg"}, ["models.galaxy.disk.e", "a pure number, not an angle"]),
    ({"Is": "2 arcsec"}, ["models.galaxy.disk.Is", "the value is image, not an angle"]),
    ({"Is": "$fluxx"}, ["models.galaxy.disk.Is", "no numeric column 'fluxx'", "'flux'"]),
    ({"Is": "$blank"}, ["models.galaxy.disk.Is", "$blank", "no value"]),
    ({"Is": {"normal": ["$blank", 1]}}, ["models.galaxy.disk.Is", "$blank", "no value"]),
    ({"Is": {"uniform": [2, 1]}}, ["models.galaxy.disk.Is", "low must lie below high"]),
    ({"e": 1.5}, ["models.galaxy.disk.e", "outside"]),
    ({"e": {"uniform": [0, 1.5]}}, ["models.galaxy.disk.e", "outside"]),
    ({"rs": "1 / 0"}, ["models.galaxy.disk.rs", "inf"]),
    ({"position": {"within": "1 arcsec"}}, ["models.galaxy.disk", "position", "not both"]),
]


@pytest.mark.parametrize(("change", "said"), BAD, ids=lambda part: str(part) if isinstance(part, dict) else "")
def test_a_mistake_is_named_with_its_place(build, change, said):
    bulge = {"type": "Sersic", "xc": 0, "yc": 0, "re": "1 arcsec", "Ie": 1}
    with pytest.raises(ConfigError) as caught:
        build("model", components={"disk": DISK | change, "bulge": bulge}, flux=1.0, blank=float("nan"))
    assert all(part in str(caught.value) for part in said)


@pytest.mark.parametrize(
    ("position", "said"),
    [
        ("dsik", ["no component 'dsik'", "'disk'"]),
        ("sky", ["sky has no parameter 'xc'"]),
        ({"within": 0}, ["within must be positive"]),
        ({"within": "$r arcsec"}, ["no numeric column 'r'"]),
        ({"within": "1 arcsec", "center": ["$ra", 0]}, ["no numeric column 'ra'"]),
        ({"within": "disk.rs"}, ["'disk.rs' cannot be used here"]),
    ],
)
def test_a_mistake_in_a_position_is_named(build, position, said):
    point = {"type": "Point", "position": position, "Ic": 1}
    with pytest.raises(ConfigError) as caught:
        build("model", components={"point": point})
    assert all(part in str(caught.value) for part in ["models.galaxy.point.position", *said])


def test_parameters_without_value_are_named(build):
    with pytest.raises(ConfigError, match=r"models\.galaxy\.point: no value for xc, yc, Ic \(or a position\)"):
        build("model", components={"point": {"type": "Point"}})


def circular(build):
    bulge = {"type": "Sersic", "position": "disk", "re": "disk.rs / 2", "Ie": 1}
    build("problem", components={"disk": DISK | {"rs": "bulge.re * 2"}, "bulge": bulge})


def test_ties_in_a_circle_are_refused(build):
    with pytest.raises(SoccaError, match="ties go in a circle"):
        circular(build)


def test_ties_in_a_circle_are_told_in_the_users_names(build):
    with pytest.raises(SoccaError, match=r"disk\.rs -> .*bulge\.re|bulge\.re -> .*disk\.rs"):
        circular(build)


def galaxy(**values):
    """Return the section of a Sersic profile with these values."""
    return {"galaxy": {"type": "Sersic", "xc": 0, "yc": 0, "re": "1 arcsec", "Ie": 1, "ns": 2, **values}}


def test_axis_ratio_and_position_angle(build):
    def built(**values):
        columns = values.pop("columns", {})
        model = build("model", components=galaxy(**values), **columns)
        return model.components[model.component_labels.index("galaxy")]

    component = built(q={"uniform": [0.2, 1]}, pa={"normal": [30, 10]})
    assert component.e == uniform(0, 0.8)
    assert component.theta.values == pytest.approx((math.radians(30), math.radians(10)))
    component = built(q="$ba", pa="0.5 rad", columns={"ba": 0.4})
    assert (component.e, component.theta) == (pytest.approx(0.6), pytest.approx(0.5))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"q": 0.3, "e": 0.2}, "models.galaxy.galaxy: give q or e, not both"),
        ({"pa": 10, "theta": 0}, "give pa or theta, not both"),
        ({"q": "galaxy.ns / 4"}, r"models.galaxy.galaxy.q: Sersic: q cannot be tied: tie e"),
        ({"q": 2}, r"models.galaxy.galaxy.q: .*outside"),
    ],
)
def test_wrong_axis_ratios(build, values, message):
    with pytest.raises(ConfigError, match=message):
        build("model", components=galaxy(**values))


def test_new_keys_change_no_digest_where_they_are_not_given(config_data):
    config = validate_config(config_data, "survey.yaml")
    settings = json.dumps(config.fit_settings("t", "galaxy"))
    for key in ("zero_point", '"q"', '"pa"', "derived", "catalog", "flags"):
        assert key not in settings
