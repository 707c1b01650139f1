"""Components, priors, noise models and samplers of other packages, really installed, in scripts and in configs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import socca
from socca.errors import ConfigError, PluginError
from socca.samplers import get_sampler
from socca.survey.config.reference import config_reference
from socca.survey.config.schema import schema, validate_config
from socca.utils.plugins import offered

GUIDE = Path(__file__).parents[2] / "docs" / "develop.md"
RELEASE = "socca-king 1.2.0"
CONFIG = """
survey: mine
targets: t.csv
image: {pixel_scale: 0.2 arcsec}
noise: {kind: laplace, level: 1}
models:
  king:
    components:
      cluster: {type: King, xc: 0, yc: 0, rc: 0.6 arcsec, I0: {cauchy: [40, 5]}}
  disk:
    components:
      disk:
        type: Disk
        radial: {type: King, xc: 0, yc: 0, rc: 0.6 arcsec, I0: {uniform: [0, 100]}}
        vertical: {type: ExponentialHeight, zs: 0.1 arcsec}
sampler: {method: prior_draws, options: {n_draws: 2000}}
outputs: {model_images: none, figures: none}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder in which the package of the guide is installed, by pip."""
    section = GUIDE.read_text().split("\n## Plug-ins\n")[1]
    package, site = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site")
    for name, language in (("pyproject.toml", "toml"), ("socca_king.py", "python")):
        (package / name).write_text(re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)[1])
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation"]
    done = subprocess.run([*command, "--no-deps", "--target", site, package], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return site


def offer(site, distribution, module, version="1.0", **groups):
    """Install a package by hand: a module, and its entry points by group."""
    name = distribution.replace("-", "_")
    (site / f"{name}.py").write_text(module)
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    lines = [f"[socca.{group}]\n{entry} = {name}:{target}" for group, (entry, target) in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


class Runner:
    """Runs Python in a folder, with packages of other folders."""

    def __init__(self, folder, *sites):
        self.folder, self.sites = folder, sites

    def __call__(self, *arguments, fails=False):
        paths = [*self.sites, Path(socca.__file__).parents[1]]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def socca(self, *arguments, fails=False):
        return self("-m", "socca.cli", *arguments, fails=fails)


@pytest.fixture
def run(installed, tmp_path):
    write_survey(tmp_path)
    return Runner(tmp_path, installed)


def write_survey(folder, config=CONFIG):
    y, x = np.mgrid[:17, :17] - 8
    light = 40 * (1 + (x**2 + y**2) / 3**2) ** -1.5
    # Noise of a standard deviation of one, as the config has it.
    noise = np.random.default_rng(1).laplace(0, 1 / np.sqrt(2), light.shape)
    fits.writeto(folder / "a.fits", light + noise, overwrite=True)
    (folder / "t.csv").write_text("target,image\na,a.fits\n")
    (folder / "mine.yaml").write_text(config)


SCRIPT = """
import sys
import socca, socca.models, socca.noise, socca.priors, socca.samplers, socca.survey.survey
assert "socca_king" not in sys.modules
from socca.data import Image
from socca.models import King, Model
img = Image("a.fits", noise=socca.noise.Laplace(sigma=1), pixel_scale=0.2)
fit = socca.fitter(img=img, mod=Model(King(xc=0.0, yc=0.0, rc=0.6 / 3600, I0=socca.priors.cauchy(40, 5))))
fit.run(method="prior_draws", n_draws=2000, seed=1)
fit.dump("script.h5")
socca.zoo()
"""


def check_result(path):
    posterior = socca.load(path)
    (label,) = posterior.labels
    assert label.endswith("I0")
    mean = posterior.weights @ posterior.samples[:, 0]
    spread = np.sqrt(posterior.weights @ (posterior.samples[:, 0] - mean) ** 2)
    # Five of its own deviations. That of a Gaussian of this noise would be about 0.2.
    assert abs(mean - 40) < 5 * spread < 5
    assert posterior.meta["method"] == "prior_draws"
    assert posterior.meta["versions"]["socca-king"] == "1.2.0"
    return posterior


def test_a_script_uses_them_by_name(run, tmp_path):
    shown = run("-c", SCRIPT)
    check_result(tmp_path / "script.h5")
    assert f"King             King's profile, ``I0 / (1 + (r/rc)^2)^(3/2)`` (King 1962). [{RELEASE}]" in shown


def test_a_survey_uses_them_by_name(run, tmp_path):
    found = run.socca("check", "--config", "mine.yaml").splitlines()
    assert found == [
        f"sampler: sampler prior_draws is from {RELEASE} (socca.samplers: prior_draws = socca_king:PriorDraws)",
        f"noise: noise model laplace is from {RELEASE} (socca.noise: laplace = socca_king:Laplace)",
        f"models.king.components.cluster: component King is from {RELEASE} (socca.components: King = socca_king:King)",
        f"models.king.components.cluster.I0: prior cauchy is from {RELEASE} (socca.priors: cauchy = socca_king:cauchy)",
        f"models.disk.components.disk.radial: component King is from {RELEASE} "
        "(socca.components: King = socca_king:King)",
        "1 target(s), 2 fit(s): nothing wrong",
    ]
    run.socca("fit", "--config", "mine.yaml", "--model", "king")
    path = tmp_path / "results" / "mine" / "fits" / "a" / "king" / "posterior.h5"
    params = check_result(path).meta["params"]
    assert params["plugins"] == {
        "component King": RELEASE,
        "noise model laplace": RELEASE,
        "prior cauchy": RELEASE,
        "sampler prior_draws": RELEASE,
    }


def test_mistakes_are_named_as_those_in_socca_s_own(run, tmp_path):
    wrong = CONFIG.replace("rc: 0.6 arcsec, I0: {cauchy", "r_c: 0.6 arcsec, I0: {cuachy")
    write_survey(tmp_path, wrong.replace("kind: laplace", "kind: laplac"))
    found = run.socca("check", "--config", "mine.yaml", fails=True)
    assert "models.king.components.cluster.r_c: unknown key; did you mean 'rc'?" in found
    assert "unknown prior 'cuachy'; did you mean 'cauchy'?" in found
    assert "unknown noise model 'laplac'; did you mean 'laplace'?" in found


def test_the_schema_knows_them_and_the_reference_page_does_not(run):
    found = json.loads(run.socca("schema"))["$defs"]
    assert "King" in found
    assert "laplace" in json.dumps(found["NoiseConfig"])
    assert "cauchy" in json.dumps(found["Sersic"])
    assert run.socca("schema", "--markdown") == config_reference()


def test_another_version_is_a_reason_to_fit_again(run, installed, tmp_path):
    code = (
        "from socca.survey.survey import Survey; survey = Survey.load('mine.yaml');"
        "print(survey.fit_params('a', 'king')['plugins'], survey.stated_params('a', 'king')['plugins'])"
    )
    assert run("-c", code).count(RELEASE) == 8
    other = tmp_path / "site"
    other.mkdir()
    module = (installed / "socca_king.py").read_text()
    groups = {"components": ("King", "King"), "priors": ("cauchy", "cauchy"), "noise": ("laplace", "Laplace")}
    offer(other, "socca-king", module, "1.3.0", **groups, samplers=("prior_draws", "PriorDraws"))
    found = Runner(tmp_path, other)("-c", code)
    assert found.count("socca-king 1.3.0") == 8


# What is wrong with a package. Nothing of these is registered, so that this process can look at them.

KING = "from socca.models import Radial, param\nclass King(Radial):\n    rc = param('deg', 'radius', lower=0.0)\n"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages."""
    monkeypatch.syspath_prepend(tmp_path)
    offered.cache_clear()
    yield tmp_path
    offered.cache_clear()


def complaint(kind):
    """Return what is said of a config with such a component."""
    config = {"survey": "mine", "targets": "t.csv", "models": {"m": {"components": {"a": {"type": kind}}}}}
    with pytest.raises(ConfigError) as caught:
        validate_config(config, "mine.yaml")
    return str(caught.value)


def test_a_broken_plug_in_is_named_when_it_is_asked_for(site, caplog):
    offer(site, "broken-king", "import no_such_module", components=("King", "King"))
    found = (
        "component 'King' of broken-king 1.0 (socca.components: King = broken_king:King): cannot be loaded: "
        "ModuleNotFoundError: No module named 'no_such_module'"
    )
    assert complaint("King") == f"mine.yaml: {found}"
    # Others are not hurt by it, and the schema only warns.
    assert "did you mean 'Sersic'?" in complaint("Sersik")
    assert "King" not in schema()["$defs"]
    assert found in caplog.text


def test_what_is_no_component_is_refused(site):
    offer(site, "no-king", "King = 3", components=("King", "King"))
    found = complaint("King")
    assert "component 'King' of no-king 1.0 (socca.components: King = no_king:King): 3 is no component" in found


def test_a_sampler_of_another_name_is_refused(site):
    module = "from socca.samplers import Sampler\nclass Mine(Sampler):\n    name = 'mine'\n"
    offer(site, "my-sampler", module, samplers=("yours", "Mine"))
    with pytest.raises(PluginError, match=r"sampler 'yours' of my-sampler 1\.0 .* is no sampler of this name"):
        get_sampler("yours")
    with pytest.raises(ConfigError, match="unknown method 'your'; did you mean 'yours'"):
        get_sampler("your")


def test_a_name_of_two_plug_ins_is_refused_with_both(site):
    for name in ("one-king", "other-king"):
        offer(site, name, KING, components=("King", "King"))
    first = "component 'King' is offered by one-king 1.0 (socca.components: King = one_king:King) and by other-king 1.0"
    assert first in complaint("King")
    with pytest.raises(PluginError, match=r"one-king 1\.0 .* other-king 1\.0"):
        _ = socca.models.King


def test_a_name_of_socca_s_own_is_refused(site):
    offer(site, "my-point", KING.replace("King", "Point"), components=("Point", "Point"))
    found = complaint("Point")
    assert "component 'Point' of my-point 1.0" in found
    assert "has the name of one of socca's own" in found
    offer(site, "my-sampler", "", samplers=("emcee", "Emcee"))
    with pytest.raises(PluginError, match=r"sampler 'emcee' of my-sampler 1\.0"):
        get_sampler("emcee")
    assert get_sampler("nautilus").name == "nautilus"


def test_a_helper_class_does_not_replace_socca_s_own(tmp_path):
    offer(tmp_path, "my-king", KING + KING.replace("King", "Sersic"), components=("King", "King"))
    code = "import socca.models as m; print(m.King.__module__, m.REGISTRY['Sersic'].__module__)"
    assert Runner(tmp_path, tmp_path)("-c", code).split() == ["my_king", "socca.models.radial.profiles"]


def test_unnearest_of_the_modules_stay_unknown():
    for name in ("models", "noise", "priors"):
        with pytest.raises(AttributeError, match=f"module 'socca.{name}' has no attribute 'Nothing'"):
            getattr(getattr(socca, name), "Nothing")  # noqa: B009
