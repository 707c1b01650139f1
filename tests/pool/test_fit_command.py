"""The pools of `socca fit`: from its options, its config and its launcher."""

import os

import numpy as np
import pytest
import yaml
from astropy.io import fits

import socca
from socca.errors import ConfigError
from tests.pool.ranks import OPEN_MPI, real_ranks, run_ranks

pytestmark = pytest.mark.usefixtures("no_launcher")


@pytest.fixture
def survey_file(tmp_path):
    """Give a survey of one small target."""
    fits.writeto(tmp_path / "a.fits", np.random.default_rng(5).normal(1, 1, (8, 8)))
    (tmp_path / "targets.csv").write_text("target,image\na,a.fits\n")
    config = {
        "survey": "small",
        "targets": "targets.csv",
        "output": str(tmp_path / "results"),
        "image": {"pixel_scale": "0.2 arcsec"},
        "noise": {"level": 1},
        "models": {
            "sky": {
                "components": {
                    "sky": {"type": "Background", "a0": {"normal": [0, 1]}, "a1x": {"normal": [0, 0.1]}},
                }
            }
        },
        "sampler": {"method": "nautilus", "options": {"n_live": 100, "n_eff": 100, "focus": False, "n_networks": 0}},
        "outputs": {"figures": False, "model_images": False},
    }
    path = tmp_path / "survey.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@real_ranks
def test_the_command_line_shares_a_fit_and_writes_once(tmp_path, survey_file):
    script = "from socca.cli import main\nmain()\n"
    arguments = ["fit", "--config", str(survey_file), "--pool", "mpi", "--log", str(tmp_path / "fit.log")]
    done, _ = run_ranks(script, tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("a sky: done in") == 1
    posterior = socca.load(tmp_path / "results" / "fits" / "a" / "sky" / "posterior.h5")
    assert (posterior.meta["pool"], posterior.meta["workers"]) == ("mpi", 2)
    assert "a sky: done in" in (tmp_path / "fit.log").read_text()


def fit_pool(path, monkeypatch, *arguments, **changes):
    """Return the pool that `socca fit` gives to the fits."""
    import socca.survey.jobs.fit_command
    from socca.cli import app

    seen = []

    def fit(survey, *arguments, **options):
        seen.append(survey.config.pool)
        return iter(())

    monkeypatch.setattr(socca.survey.jobs.fit_command, "fit_separately", fit)
    config = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump(config))
    app(["fit", "--config", str(path), *arguments], standalone_mode=False)
    return seen[0].kind, seen[0].cores


@pytest.fixture
def own_process_state(monkeypatch):
    """Undo what the command line does to its process."""
    import logging

    import socca.utils.xla

    for name in socca.utils.xla.SINGLE_THREAD:
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(socca.utils.xla, "use_persistent_cache", lambda: None)
    root, ours = logging.getLogger(), logging.getLogger("socca")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(False)


@pytest.mark.usefixtures("own_process_state")
@pytest.mark.parametrize(
    ("arguments", "variables", "changes", "found"),
    [
        ([], {}, {}, ("auto", 1)),
        ([], {}, {"pool": {"cores": 3}}, ("auto", 3)),
        (["--cores", "2"], {}, {"pool": {"cores": 3}}, ("auto", 2)),
        ([], {"SLURM_CPUS_PER_TASK": "5"}, {"pool": {"cores": 3}}, ("auto", 5)),
        (["--cores", "2"], {"SLURM_CPUS_PER_TASK": "5"}, {}, ("auto", 2)),
        (["--pool", "loky"], {"SLURM_CPUS_PER_TASK": "5"}, {}, ("loky", 5)),
        (["--pool", "serial"], {"SLURM_CPUS_PER_TASK": "5"}, {"pool": {"cores": 3}}, ("serial", 1)),
        ([], {"SLURM_CPUS_PER_TASK": "5"}, {"sampler": {"method": "optimizer"}}, ("auto", 1)),
        (["--pool", "mpi"], OPEN_MPI, {}, ("mpi", 1)),
        (["--pool", "serial"], OPEN_MPI, {}, ("serial", 1)),
        (["--pool", "serial"], OPEN_MPI, {"sampler": {"method": "optimizer"}}, ("serial", 1)),
    ],
)
def test_where_the_command_line_takes_its_pool_from(monkeypatch, survey_file, arguments, variables, changes, found):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert fit_pool(survey_file, monkeypatch, *arguments, **changes) == found


@pytest.mark.usefixtures("own_process_state")
@pytest.mark.parametrize(
    ("arguments", "variables", "changes", "said"),
    [
        (["--pool", "mpi"], {}, {}, "mpirun -n 4"),
        (["--pool", "serial", "--cores", "2"], {}, {}, "one worker, not 2"),
        ([], OPEN_MPI, {"sampler": {"method": "optimizer"}}, "optimizer does not run under MPI"),
    ],
)
def test_pools_that_the_command_line_refuses(monkeypatch, survey_file, arguments, variables, changes, said):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said):
        fit_pool(survey_file, monkeypatch, *arguments, **changes)
