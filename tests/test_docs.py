"""Pages that are made from code are in step with it, and so are the versions of what socca needs."""

import importlib.util
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from socca import models, noise, priors, samplers
from socca.models.quantity import FURTHER, NAMES, QUANTITIES, USUAL
from socca.survey.config.reference import config_reference
from socca.survey.flags import FLAGS

ROOT = Path(__file__).parents[1]


def test_config_reference_is_in_step():
    page = (ROOT / "docs" / "config.md").read_text()
    assert page == config_reference(), "run `socca schema --markdown > docs/config.md`"


def test_flags_and_quantities_are_described():
    page = (ROOT / "docs" / "method.md").read_text()
    for name, flag in FLAGS.items():
        assert f"| `{name}` | {flag.bit} | {flag.severity} | {flag.description} |" in page
    page = (ROOT / "docs" / "quantities.md").read_text()
    for name in NAMES:
        about = {**QUANTITIES, **FURTHER}[name]
        assert re.search(
            rf"\| `{name}` \| .*\| {re.escape(about.description)} \| {'yes' if name in USUAL else ''} ?\|", page
        )


def architecture():
    """Return the module that makes the page of the architecture."""
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "_ext" / "architecture.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as dataclasses want it
    spec.loader.exec_module(module)
    return module


def test_every_folder_has_its_place_in_the_architecture():
    """In one layer of the import contract, of which the picture and the table are made, and with a word about it."""
    pytest.importorskip("grimp")
    page = architecture()
    found = page.Architecture.read()
    placed = [name for layer in found.layers for name in layer]
    modules = {path.stem for path in (ROOT / "socca").glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in (ROOT / "socca").glob("*/__init__.py")}
    assert sorted(placed) == sorted(modules | folders)
    table, picture = "\n".join(page.table(found)), page.drawing(found)
    for name in placed:
        assert len(found.about[name]) > 10
        assert f"| `{name}` | {found.about[name]} |" in table
        assert f">{name}</text>" in picture
    # Arrows lead down, and leave nothing out: what is imported is reached along them, or used by nearly all.
    level = {name: k for k, layer in enumerate(found.layers) for name in layer}
    arrows = found.arrows()
    assert all(level[start] < level[end] for start, end in arrows)
    assert picture.count("marker-end") == len(arrows) + len(found.exceptions)
    reached = {name: {end for start, end in arrows if start == name} for name in placed}
    for name in reversed(placed):
        reached[name] |= set().union(*(reached[end] for end in reached[name]))
        assert found.imports[name] <= reached[name] | found.shared()


def test_the_guide_names_what_there_is():
    """Paths and classes in the guide for developers."""
    names = re.findall(r"`([\w/.-]+)`", (ROOT / "docs" / "develop.md").read_text())
    paths = [name for name in names if "/" in name and not name.startswith("docs/_build")]
    classes = [name for name in names if re.fullmatch(r"(?:[A-Z][a-z]+){1,}[A-Z]?\w*", name)]
    code = "".join(path.read_text() for path in (ROOT / "socca").rglob("*.py"))
    assert len(paths) > 10
    assert [path for path in paths if not ((ROOT / path).exists() or (ROOT / "socca" / path).exists())] == []
    others = {"DataTree", "InferenceData"}  # of ArviZ
    assert "UnitCube" in classes
    assert [
        name for name in set(classes) - others if f"class {name}(" not in code and f"class {name}:" not in code
    ] == []


def test_pages_build_without_a_warning(tmp_path):
    """Cross references are resolved, and every registered class has its place in the reference."""
    for name in ("sphinx", "myst_parser", "furo", "grimp"):
        pytest.importorskip(name)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", ROOT / "docs", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    for page, module, registry in (
        ("components", "socca.models", models.REGISTRY),
        ("noise", "socca.noise", noise.REGISTRY),
        ("priors", "socca.priors", priors.REGISTRY),
    ):
        html = unescape((tmp_path / "api" / f"{page}.html").read_text())
        for kind in registry.values():
            if kind.__module__.startswith("socca."):  # and not of another test
                assert f'id="{module}.{kind.__name__}"' in html
                fields = kind.fields if hasattr(kind, "fields") else ()
                assert all(kind.fields[field].description in html for field in fields)
    html = (tmp_path / "api" / "samplers.html").read_text()
    assert all(f'<span class="pre">{method}</span>' in html for method in samplers.METHODS)
    assert "socca extract" in (tmp_path / "api" / "command-line.html").read_text()
    assert "<svg" in (tmp_path / "architecture.html").read_text()


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


def test_oldest_versions_are_the_lower_bounds():
    """Of what the package needs, and of what its tests need besides tools that check code and types."""
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    tools = {"import-linter", "mypy", "ruff", "snakefmt", "types-PyYAML", "types-psutil"}
    bounds = {found.name: found.specifier for found in map(Requirement, needed) if found.name not in tools}
    lines = [
        line.partition("#")[0].strip() for line in (ROOT / "tests" / "constraints-oldest.txt").read_text().splitlines()
    ]
    oldest = {found.name: found.specifier for found in map(Requirement, filter(None, lines))}
    assert {name: str(bound).replace(">=", "==") for name, bound in bounds.items()} == {
        name: str(oldest.get(name, "")) for name in bounds
    }
    # An extra for users asks for no newer version than the tests do.
    for extra in ("arviz", "benchmarks", "mpi", "slurm"):
        for found in map(Requirement, project["optional-dependencies"][extra]):
            if found.name in oldest:
                assert str(found.specifier).replace(">=", "==") == str(oldest[found.name]), found


def run_page(name, folder):
    """Run the code of a page, all of it, as one script."""
    page = (ROOT / "docs" / name).read_text()
    script = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return done


def test_what_the_page_about_migration_says_holds(tmp_path):
    """Its examples assert it, and nothing of it warns."""
    done = run_page("migration.md", tmp_path)
    assert "Warning" not in done.stderr
    assert (tmp_path / "posterior.h5").exists()


@pytest.mark.thorough
def test_the_script_of_the_guide_runs(tmp_path):
    """What it simulated comes out again."""
    import socca

    run_page("scripts.md", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"model.fits", "comparison.png", "corner.png"}
    posterior = socca.load(tmp_path / "posterior.h5")
    truth = {"bulge.re": 0.5 / 3600, "disk.Ie": 8.0, "disk.ratio": 3.0, "sky.a0": 0.2}
    for label, value in truth.items():
        column = posterior.samples[:, posterior.labels.index(label)]
        mean = posterior.weights @ column
        sigma = (posterior.weights @ (column - mean) ** 2) ** 0.5
        assert abs(mean - value) < 4 * sigma
