"""Pages that are made from code are in step with it."""

import re
import subprocess
import sys
from pathlib import Path

from socca.survey.config.reference import config_reference

ROOT = Path(__file__).parents[1]


def test_config_reference_is_in_step():
    page = (ROOT / "docs" / "config.md").read_text()
    assert page == config_reference(), "run `socca schema --markdown > docs/config.md`"


def test_every_module_has_its_place_in_the_guide():
    rows = [line for line in (ROOT / "docs" / "develop.md").read_text().splitlines() if line.startswith("|")]
    listed = set(re.findall(r"`([\w]+\.py|\w+/)`", "".join(rows)))
    modules = {path.name for path in (ROOT / "socca").glob("*.py")} - {"__init__.py"}
    packages = {f"{path.parent.name}/" for path in (ROOT / "socca").glob("*/__init__.py")}
    assert listed == modules | packages


def test_versions_agree():
    import socca

    assert f'version = "{socca.__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f"version: {socca.__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"# socca {socca.__version__}\n" in (ROOT / "workflow" / "envs" / "socca.post-deploy.sh").read_text()


def test_conda_environment_has_what_the_package_needs():
    import tomllib

    import yaml

    names = {"matplotlib": "matplotlib-base", "snakemake": "snakemake-minimal"}
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = {re.split("[><=]", line)[0].lower(): re.split("[><=]+", line)[1] for line in package}
    listed = yaml.safe_load((ROOT / "workflow" / "envs" / "socca.yaml").read_text())["dependencies"]
    found = dict(line.split(" >=") for line in listed if " >=" in line and not line.startswith("python"))
    assert found == {names.get(name, name): version for name, version in wanted.items()}


def test_the_script_of_the_guide_runs(tmp_path):
    """All of it, as one script; what it simulated comes out again."""
    import socca

    page = (ROOT / "docs" / "scripts.md").read_text()
    script = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} >= {"model.fits", "comparison.png", "corner.png"}
    posterior = socca.load(tmp_path / "posterior.h5")
    truth = {"bulge.re": 0.5 / 3600, "disk.Ie": 8.0, "disk.ratio": 3.0, "sky.a0": 0.2}
    for label, value in truth.items():
        column = posterior.samples[:, posterior.labels.index(label)]
        mean = posterior.weights @ column
        sigma = (posterior.weights @ (column - mean) ** 2) ** 0.5
        assert abs(mean - value) < 4 * sigma
