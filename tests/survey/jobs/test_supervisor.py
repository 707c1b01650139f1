"""What one fit of a chunk may take, and what it costs if it takes more."""

import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest

from socca.errors import MachineError, PoolError
from socca.posterior.container import read_headers
from socca.posterior.storage import header_of, open_result
from socca.survey.chunks import Chunk
from socca.survey.freshness.records import read_record
from socca.survey.freshness.stamps import fit_stamp, is_fit_stamped
from socca.survey.jobs.chunk_job import ChunkJob
from socca.survey.jobs.fit_command import fit_separately
from socca.survey.jobs.heartbeat import running
from socca.survey.jobs.supervisor import Caps, Supervisor
from socca.survey.status import survey_status
from tests.survey.skies import ONE, run

WORKER = """
import json, os, sys, time
task = json.loads(sys.stdin.readline())
if task.get("broken"):
    sys.exit(1)
print(json.dumps({"ready": True}), flush=True)
kept = []
for line in sys.stdin:
    name = json.loads(line)
    if name.startswith("dies"):
        os.kill(os.getpid(), 9)
    if name.startswith("tells"):
        print(json.dumps({"error": "[Errno 37] No locks available"}), flush=True)
        os._exit(1)
    if name.startswith("leaves"):
        os._exit(3)
    if name.startswith("keeps"):
        kept.append(bytearray(150 << 20))
        kept[-1][::4096] = bytes(len(kept[-1][::4096]))
        time.sleep(1.2)
    if name.startswith("eats"):
        food = bytearray(400 << 20)
        food[::4096] = bytes(len(food[::4096]))
        time.sleep(60)
    if name.startswith("sleeps"):
        time.sleep(60)
    if name.startswith("full"):
        print(json.dumps({"status": "machine_fault", "message": "No space left", "seconds": 0.0}), flush=True)
        continue
    print(json.dumps({"status": "done", "message": "", "seconds": 0.0}), flush=True)
"""


@pytest.fixture
def supervisor(tmp_path, monkeypatch):
    """Give a function that runs targets by workers of the tests' own, whose names say what happens to them."""
    (tmp_path / "worker.py").write_text(WORKER)
    popen = subprocess.Popen

    def start(command, **options):
        assert command[1:] == ["-m", "socca.survey.jobs.worker"]
        return popen([sys.executable, str(tmp_path / "worker.py")], **options)

    monkeypatch.setattr("socca.survey.jobs.supervisor.subprocess.Popen", start)

    def run(targets, workers=2, task=None, **caps):
        made = Supervisor(task or {}, "m", workers, Caps(**caps), lambda now: None)
        return Counter((outcome.target, outcome.status) for outcome in made.run(targets))

    return run


@pytest.fixture
def children():
    """Give a function that returns the processes that a test has started, and that still run."""
    before = psutil.Process().children()
    return lambda: [
        child for child in psutil.Process().children() if child not in before and child.status() != psutil.STATUS_ZOMBIE
    ]


def test_each_target_is_fitted_once(supervisor, children):
    names = [f"t{k}" for k in range(30)]
    assert supervisor(names) == Counter((name, "done") for name in names)
    assert not children()


@pytest.mark.parametrize("how", ["dies", "leaves"])
def test_a_dead_worker_costs_its_target_alone(supervisor, children, how, caplog):
    assert supervisor([how, "x", "y", "z"]) == Counter(
        [(how, "worker_died"), ("x", "done"), ("y", "done"), ("z", "done")]
    )
    assert caplog.text.count("trying again") == 1
    assert ("killed by signal 9" if how == "dies" else "ended with status 3") in caplog.text
    assert not children()


def test_a_worker_s_own_error_is_told(supervisor, caplog):
    assert supervisor(["tells", "x"]) == Counter([("tells", "worker_died"), ("x", "done")])
    assert "its process ended: [Errno 37] No locks available; trying again" in caplog.text


def test_a_straggler_is_ended(supervisor, children):
    assert supervisor(["sleeps", "x"], workers=1, minutes=0.02) == Counter([("sleeps", "timeout"), ("x", "done")])
    assert not children()


def test_a_glutton_is_ended(supervisor, children):
    assert supervisor(["eats", "x"], memory_mb=300) == Counter([("eats", "memory_limit"), ("x", "done")])
    assert not children()


def test_what_earlier_fits_left_in_memory_is_no_fit_s_own(supervisor):
    names = [f"keeps{k}" for k in range(4)]
    assert supervisor(names, workers=1, memory_mb=300) == Counter((name, "done") for name in names)


def test_workers_that_cannot_begin_blame_no_target(supervisor, children):
    with pytest.raises(PoolError, match="a worker, before it could begin, ended with status 1, see the log"):
        supervisor(["x", "y"], task={"broken": True})
    assert not children()


def test_fits_that_fail_for_want_of_time_are_recorded(make_survey, tmp_path):
    slow = {"method": "emcee", "options": {"n_eff": 10_000_000, "max_steps": 1_000_000}}
    changes = {"missing": "", "batch": {"chunk": 10, "max_minutes": 0.3}, "sampler": slow}
    survey = make_survey(["a"], **changes)
    assert [outcome.status for outcome in run(survey, tmp_path)] == ["timeout"]
    path = ONE.path(survey.config.folder)
    failure = read_headers(path)["a"].record.failure
    assert "took longer than 0.3 minutes (batch.max_minutes)" in failure.message
    assert failure.capped == {"max_minutes": 0.3}
    assert not failure.died
    assert run(survey, tmp_path) == []
    # It goes on from where it was once it may take longer.
    assert (Chunk.parts(path) / "a.socca").exists()
    longer = make_survey(["a"], **changes | {"batch": {"chunk": 10, "max_minutes": 0.4}})
    assert ChunkJob(longer, ONE).to_fit() == ["a"]


def test_a_fit_whose_process_dies_fails_the_job_until_its_last_try(make_survey, tmp_path, supervisor, monkeypatch):
    survey = make_survey(["a", "dies"], missing="")
    monkeypatch.setattr(ChunkJob, "finish", lambda self, *, complete: None)
    with pytest.raises(PoolError, match="dies: its process was killed by signal 9"):
        run(survey, tmp_path, last_try=False)
    assert not (Chunk.parts(ONE.path(survey.config.folder)) / "dies.h5").exists()
    run(survey, tmp_path, last_try=True)
    with open_result(Chunk.parts(ONE.path(survey.config.folder)) / "dies.h5") as group:
        failure = header_of(group).record.failure
    assert "killed by signal 9: out of memory?" in failure.message
    assert failure.died
    assert failure.capped == {}


def test_a_single_fit_whose_process_dies(make_survey, tmp_path, supervisor):
    """Without a limit too: Snakemake's job gives the fit to another process when it tries for the last time."""
    survey = make_survey(["dies"], missing="", batch={"chunk": 1})
    stamp = fit_stamp(survey, "dies", "sky")
    path = survey.path("dies", "sky", "posterior.h5")
    limited = make_survey(["dies"], missing="", batch={"chunk": 1, "max_minutes": 9})
    with pytest.raises(PoolError, match="dies sky: its process was killed by signal 9"):
        list(fit_separately(limited, tmp_path / "survey.yaml", None, limited.jobs(), last_try=False, stamp=stamp))
    assert not path.exists()
    for _ in range(2):  # it is tried again whenever its job runs
        (outcome,) = fit_separately(survey, tmp_path / "survey.yaml", None, survey.jobs(), stamp=stamp)
        assert outcome.status == "worker_died"
        assert is_fit_stamped(survey, "dies", "sky")
    assert read_record(path).failure.died


@pytest.mark.parametrize("last_try", [False, True])
def test_what_the_machine_stops_fails_the_job_and_no_target(make_survey, tmp_path, supervisor, monkeypatch, last_try):
    survey = make_survey(["a", "full"], missing="")
    monkeypatch.setattr(ChunkJob, "finish", lambda self, *, complete: finished.append(complete))
    finished = []
    with pytest.raises(MachineError, match=r"^full: No space left"):
        run(survey, tmp_path, last_try=last_try)
    assert finished == [False]
    assert not list(Chunk.parts(ONE.path(survey.config.folder)).glob("*.h5"))


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_keeps_checkpoints(make_survey, tmp_path, number):
    """A batch system's notice, to the job's process alone: the workers pass it on to their fits."""
    sampler = {"method": "emcee", "options": {"n_eff": 10_000_000, "max_steps": 1_000_000}}
    survey = make_survey(["a", "b"], missing="", sampler=sampler)
    command = [sys.executable, "-m", "socca.cli", "fit", "--config", "survey.yaml", "--cores", "2", "--log", "log.txt"]
    job = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    # Each tells when it begins to sample.
    while time.monotonic() < deadline and job.poll() is None:
        time.sleep(0.2)
        log = (tmp_path / "log.txt").read_text() if (tmp_path / "log.txt").exists() else ""
        if log.count("reached the highest of") == 2:
            break
    assert survey_status(survey.results(), survey.config.folder).counts["running"] == 2
    job.send_signal(number)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 128 + number, said
    assert "Traceback" not in said + (tmp_path / "log.txt").read_text()
    parts = Chunk.parts(ONE.path(survey.config.folder))
    assert {path.name for path in parts.iterdir()} == {"a.socca", "b.socca"}
    assert not running(survey.config.folder)
