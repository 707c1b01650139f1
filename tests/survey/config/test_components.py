"""Components in a config: their parts, truncations, formulas and extra parameters."""

import copy

import jsonschema
import numpy as np
import pytest

from socca.data import Image
from socca.errors import ConfigError
from socca.models import REGISTRY, Beta, CustomProfile, Sersic
from socca.models.radial import truncation
from socca.noise import Normal
from socca.parameters.ties import Tie
from socca.priors import uniform
from socca.survey.config.build_model import build_model, build_problem
from socca.survey.config.reference import config_reference
from socca.survey.config.schema import schema, validate_config
from socca.survey.targets import from_columns

SCALE = 0.2 / 3600
ARCSEC = 1 / 3600
DISK = {
    "type": "Disk",
    "position": {"within": "1 arcsec"},
    "radial": {
        "type": "Sersic",
        "truncation": "HyperTangent",
        "rt": "8 arcsec",
        "re": {"uniform": ["1 arcsec", "2 arcsec"]},
        "Ie": 1,
    },
    "vertical": {"type": "ExponentialHeight", "inc": {"uniform": [0, "80 deg"]}, "zs": "disk.radial.re * 0.1"},
    "losdepth": "$depth arcsec",
    "losbins": 40,
}
BULGE = {"type": "Gaussian", "position": "disk", "rs": "disk.radial.re / 4", "Is": "2 * disk.radial.Ie"}
BLOB = {
    "type": "CustomProfile",
    "xc": 0,
    "yc": "$offset arcsec",
    "profile": "top * exp(-(r / s) ** k)",
    "parameters": {
        "top": {"unit": "image", "value": {"loguniform": [1, 10]}},
        "s": {"unit": "deg", "value": "1 arcsec", "description": "scale"},
        "k": {"value": "2 * disk.radial.ns"},
    },
    "extra": {"ratio": {"value": {"uniform": [0, 1]}, "description": "of a tie"}},
}
BRIDGE = {
    "type": "SimpleBridge",
    "position": "disk",
    "rs": "5 pix",
    "Is": "blob.ratio * blob.top",
    "radial": {"type": "Beta", "alpha": {"uniform": [1, 3]}, "beta": 1},
}
COMPONENTS = {"disk": DISK, "bulge": BULGE, "blob": BLOB, "bridge": BRIDGE}


def survey(**components):
    found = {label: copy.deepcopy(section) for label, section in components.items()}
    return {"survey": "s", "targets": "t.csv", "models": {"m": {"components": found}}}


def build(tmp_path, components, how=build_model):
    config = validate_config(survey(**components), "survey.yaml")
    row = {"target": ["t"], "image": ["image.fits"], "depth": [20.0], "offset": [0.5]}
    target = from_columns(row, tmp_path, "table")["t"]
    image = Image(np.zeros((12, 13)), pixel_scale=0.2, noise=Normal(sigma=1.0))
    return how("m", target, config, image)


def test_everything_at_once(tmp_path):
    model = build(tmp_path, COMPONENTS)
    disk, bulge, blob, bridge = model.components
    assert isinstance(disk.radial, Sersic)
    assert disk.radial.truncation is truncation.HyperTangent
    assert (disk.radial.rt, disk.radial.wt) == (pytest.approx(8 * ARCSEC), 0.01)
    assert (disk.losdepth, disk.losbins) == (pytest.approx(20 * ARCSEC), 40)
    assert disk.radial.xc.values == pytest.approx((-ARCSEC, ARCSEC))
    assert disk.vertical.inc.values == pytest.approx((0, np.radians(80)))
    assert isinstance(disk.vertical.zs, Tie)
    assert disk.vertical.zs.names == bulge.rs.names == ("comp_00_radial.re",)
    assert (bulge.xc.names, bridge.yc.names) == (("comp_00_radial.xc",), ("comp_00_radial.yc",))
    assert isinstance(blob, CustomProfile)
    assert (blob.s, blob.yc) == (pytest.approx(ARCSEC), pytest.approx(0.5 * ARCSEC))
    assert isinstance(blob.ratio, uniform)
    assert (blob.units["s"], blob.description["s"], blob.description["ratio"]) == ("deg", "scale", "of a tie")
    assert blob.k.names == ("comp_00_radial.ns",)
    assert isinstance(bridge.radial, Beta)
    assert bridge.radial.alpha.values == (1, 3)
    assert bridge.rs == pytest.approx(5 * SCALE)
    assert model.labels["comp_00_radial.re"] == "disk.radial.re"


@pytest.mark.thorough
def test_it_can_be_evaluated(tmp_path):
    small = COMPONENTS | {"disk": DISK | {"losbins": 16}}
    problem, _ = build(tmp_path, small, build_problem)
    assert "disk.vertical.inc" in problem.labels
    theta = problem.prior_transform(np.full((1, problem.ndim), 0.4))
    assert np.isfinite(problem.log_likelihood(theta)).all()


@pytest.mark.parametrize("wanted", [True, "Exponential", "HyperTangent", None, False])
def test_truncations(tmp_path, wanted):
    section = {"type": "gNFW", "xc": 0, "yc": 0, "rc": "2 arcsec", "Ic": 1, "truncation": wanted}
    if wanted:
        section |= {"rt": "9 arcsec", "wt": "1 arcsec"}
    (found,) = build(tmp_path, {"cluster": section}).components
    name = "Exponential" if wanted is True else wanted
    assert found.truncation is (truncation.REGISTRY[name] if wanted else None)
    assert ("rt" in found.fields) == bool(wanted)


def test_a_bridge_without_laws_has_the_default_ones(tmp_path):
    (bridge,) = build(tmp_path, {"b": {"type": "MesaBridge", "xc": 0, "yc": 0, "rs": 1, "Is": 1}}).components
    assert (bridge.radial.alpha, bridge.radial.beta, bridge.parallel.alpha) == (8, 1, 8)


DEEP = "models.m.components"
UNITS = "Input should be 'deg', 'rad', 'image' or ''"
BAD = [
    ("disk", "radial.ree", 1, f"{DEEP}.disk.radial.ree: unknown key; did you mean 're'"),
    ("disk", "radial.type", "Sersik", f"{DEEP}.disk.radial.type: unknown profile 'Sersik'; did you mean 'Sersic'"),
    (
        "disk",
        "vertical.type",
        "Sersic",
        f"{DEEP}.disk.vertical.type: unknown profile 'Sersic'; known: HyperSec",
    ),
    ("disk", "vertical.alpha", 1, f"{DEEP}.disk.vertical.alpha: unknown key"),
    ("disk", "radial.re", {"unifrom": [0, 1]}, f"{DEEP}.disk.radial.re: unknown prior 'unifrom'"),
    ("disk", "radial.truncation", "HyperTan", f"{DEEP}.disk.radial.truncation: "),
    ("disk", "radial.truncation", None, f"{DEEP}.disk.radial: rt is given, but no truncation"),
    ("disk", "losbins", 3, f"{DEEP}.disk.losbins: "),
    ("disk", "losbin", 30, f"{DEEP}.disk.losbin: unknown key; did you mean 'losbins'"),
    ("disk", "vertical", None, f"{DEEP}.disk.vertical: is needed"),
    ("bulge", "rt", 1, f"{DEEP}.bulge: rt is given, but no truncation"),
    ("bridge", "radial.rc", 1, f"{DEEP}.bridge.radial.rc: unknown key"),
    ("bridge", "radial.xc", 1, f"{DEEP}.bridge.radial.xc: unknown key"),
    ("blob", "profile", "top * exp(-r / t)", f"{DEEP}.blob: CustomProfile: 'top * exp(-r / t)' has no parameter 't'"),
    ("blob", "profile", "top * exp(-r", f"{DEEP}.blob: CustomProfile: cannot read expression"),
    ("blob", "parameters.top.unti", "deg", f"{DEEP}.blob.parameters.top.unti: unknown key; did you mean 'unit'"),
    ("blob", "parameters.theta", {"value": 1}, f"{DEEP}.blob: CustomProfile: 'theta' cannot be the name"),
    ("blob", "extra.a-b", {"value": 1}, f"{DEEP}.blob.extra.a-b"),
    ("blob", "parameters.top.unit", "Jy", f"{DEEP}.blob.parameters.top.unit: {UNITS}"),
    ("blob", "extra.ratio.unit", "arcsec", f"{DEEP}.blob.extra.ratio.unit: {UNITS}"),
    # Found when the model is built.
    ("bulge", "rs", "disk.re", "models.m.bulge.rs: 'disk.re': disk has no parameter 're'; "),
    ("bulge", "rs", "disk.radial.ree", "disk has no parameter 'radial.ree'; did you mean 'radial.re'"),
    ("disk", "radial.ns", 20, "models.m.disk.radial.ns: Sersic: ns = 20 lies outside"),
    ("disk", "radial.Ie", None, "models.m.disk: no value for radial.Ie"),
    ("disk", "radial.xc", 0, "models.m.disk: give position, or xc and yc, not both"),
    ("disk", "position", None, "models.m.disk: no value for radial.xc, radial.yc (or a position)"),
    ("disk", "losdepth", "3 arcsex", "models.m.disk: losdepth: unknown unit 'arcsex'"),
    ("disk", "losdepth", 0, "models.m.disk: Disk: losdepth = 0.0 must be a positive number"),
    ("blob", "parameters.s.value", None, "models.m.blob: no value for s"),
    ("blob", "parameters.s.value", "$size", "models.m.blob.s: $size: the table of targets has no numeric column"),
    ("blob", "extra.theta", {"value": 1}, "models.m.blob: CustomProfile: 'theta' cannot be the name"),
    ("blob", "extra.ratio", {"unit": "deg"}, "models.m.blob: extra.ratio: no value"),
]


@pytest.mark.parametrize(("label", "place", "value", "said"), BAD)
def test_a_mistake_is_named_with_its_place(tmp_path, label, place, value, said):
    components = copy.deepcopy(COMPONENTS)
    section = components[label]
    *path, last = place.split(".")
    for key in path:
        section = section[key]
    if value is None:
        del section[last]
    else:
        section[last] = value
    with pytest.raises(ConfigError) as caught:
        build(tmp_path, components)
    assert said in str(caught.value)
    assert str(caught.value).count("\n") <= 1


def test_the_schema():
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate(survey(**COMPONENTS))
    for change in ({"losbin": 30}, {"radial": {"type": "Sersik"}}, {"radial": {"type": "Sersic", "ree": 1}}):
        assert not validator.is_valid(survey(disk=DISK | change)), change


def test_the_reference_page_names_every_component():
    page = config_reference()
    for name in [*REGISTRY, "HyperSecantHeight", "ExponentialHeight"]:
        assert f"### {name}\n" in page


def test_a_parameter_may_be_called_as_a_prior():
    data = survey(core={"type": "Beta", "xc": 0, "yc": 0, "rc": 1, "Ic": 1, "beta": {"uniform": [0.5, 0.7]}})
    for change, wanted in (({"beta": 0.6}, 0.6), ({"beta": {"beta": [2, 3]}}, {"beta": [2, 3]})):
        data["overrides"] = {"a": {"models": {"m": {"components": {"core": change}}}}}
        core = validate_config(data, "survey.yaml").for_target("a").models["m"].components["core"]
        assert (core.beta, core.rc) == (wanted, 1)
