"""Importing socca costs little, and changes nothing in the libraries it uses."""

import pkgutil
import subprocess
import sys

import pytest

import socca

HEAVY = ["jax", "astropy", "matplotlib", "scipy", "nautilus", "h5py", "loky", "pydantic"]
MODULES = sorted(module.name for module in pkgutil.walk_packages(socca.__path__, "socca."))


def loaded(code, *arguments):
    """Return which heavy modules a fresh interpreter holds after running some code."""
    report = (
        f"import atexit, sys\natexit.register(lambda: print('LOADED', *[m for m in {HEAVY} if m in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", report + code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("name", ["socca", "socca.cli", "socca.pool", "socca.samplers", "socca.errors"])
def test_importing_loads_nothing_heavy(name):
    assert loaded(f"import {name}") == []


@pytest.mark.parametrize("name", ["socca.survey.config.schema", "socca.survey.survey", "socca.survey.config.reference"])
def test_reading_a_config_needs_no_jax(name):
    # So does the start of Snakemake, many times over.
    assert set(loaded(f"import {name}")) <= {"pydantic"}


def test_help_loads_nothing_heavy():
    code = "import runpy, sys; sys.argv[0] = 'socca'; runpy.run_module('socca.cli', run_name='__main__')"
    assert loaded(code, "--help") == []
    assert "jax" not in loaded(code, "fit", "--help")


CHANGES = """
import importlib, os, sys, warnings, logging
import jax, numpy
def state():
    root = logging.getLogger()
    logs = root.handlers[:], root.level
    return dict(jax.config.values), dict(os.environ), list(warnings.filters), numpy.geterr(), logs
before = state()
for name in sys.argv[1:]:
    importlib.import_module(name)
after = state()
parts = ["jax.config", "environment", "warnings", "numpy", "logging"]
print([what for what, a, b in zip(parts, before, after) if a != b])
"""


def test_importing_every_module_changes_no_configuration():
    # Some libraries change filters of warnings and variables, so that they are imported first.
    code = "import astropy.table, h5py, jax, loky, matplotlib.pyplot, pydantic, scipy.optimize, typer\n" + CHANGES
    done = subprocess.run([sys.executable, "-c", code, *MODULES], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_problem_leaves_jax_in_single_precision(make_image):
    import jax
    import jax.numpy as jnp

    from socca.likelihood.problem import Problem
    from socca.models import Background, Model
    from socca.priors import normal

    problem = Problem(make_image(), Model(Background(a0=normal(0, 1))))
    assert problem.log_likelihood([[0.1]]).dtype == "float64"
    assert not jax.config.jax_enable_x64
    assert jnp.ones(1).dtype == "float32"


def test_public_names_exist_and_unknown_ones_do_not():
    missing = []
    for name in set(socca.__all__) - {"fitter", "load"}:  # these come with the interface for scripts
        try:
            getattr(socca, name)
        except (AttributeError, ImportError):
            missing.append(name)
    assert missing == []
    assert set(dir(socca)) == set(socca.__all__)
    with pytest.raises(AttributeError, match="'socca' has no attribute 'nothing'"):
        _ = socca.nothing


def test_the_folder_of_fits_offers_what_scripts_import():
    import socca.fitting

    assert socca.fitting.fitter is socca.fitter
    assert socca.fitting.load is socca.load
    with pytest.raises(AttributeError, match="has no attribute 'fit'"):
        socca.fitting.fit  # noqa: B018
