"""How far a survey is: what runs, at what rate, and the time left."""

import os
import platform
import time

import pytest

from socca.survey.jobs.heartbeat import Heartbeat, leftovers, running
from socca.survey.status import rate, summary_line


def test_what_is_running_is_known_from_files(tmp_path):
    with Heartbeat(tmp_path) as progress:
        progress.now([("a", "m"), ("b", "m")])
        assert running(tmp_path) == {("a", "m"), ("b", "m")}
        (file,) = (tmp_path / "running").iterdir()
        long_ago = time.time() - 100
        os.utime(file, (long_ago, long_ago))
        assert running(tmp_path) == set()
        file.write_text("{")
        assert running(tmp_path) == set()
        progress.now([("c", "m")])
        assert running(tmp_path) == {("c", "m")}
    assert list((tmp_path / "running").iterdir()) == []
    with Heartbeat(tmp_path / "other", writes=False) as progress:
        progress.now([("a", "m")])
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "content",
    [
        *(
            "",
            "{",
            "[]",
            "3",
            "null",
            "{}",
            '{"fits": 3}',
            '{"fits": null}',
            '{"fits": {"a": "m"}}',
            '{"fits": ["ab"]}',
        ),
        *('{"fits": [["a"]]}', '{"fits": [["a", "m", "x"]]}', '{"fits": [[1, 2]]}', '{"fits": [[["a"], "m"]]}'),
        *("[" * 100_000, '{"fits": [' + '["a", "m"],' * 2_000_000 + '["a", "m"]]}', "\x00", "\ud7ff"),
    ],
    ids=lambda content: content[:20],
)
def test_a_heartbeat_that_is_none_is_left_out(tmp_path, content):
    with Heartbeat(tmp_path) as progress:
        progress.now([("a", "m")])
        (tmp_path / "running" / "other-1.json").write_text(content)
        assert running(tmp_path) == {("a", "m")}


def test_a_pipe_among_heartbeats_keeps_nobody_waiting(tmp_path):
    with Heartbeat(tmp_path) as progress:
        progress.now([("a", "m")])
        os.mkfifo(tmp_path / "running" / "pipe.json")
        (tmp_path / "running" / "folder.json").mkdir()
        (tmp_path / "running" / "device.json").symlink_to("/dev/zero")
        assert running(tmp_path) == {("a", "m")}


def test_rate_and_time_left():
    now = 1e9
    # One a minute, for an hour and more: 60 in the last hour.
    assert rate([now - 60 * k for k in range(200)], now) == pytest.approx(1 / 60, rel=0.02)
    assert rate([], now) == rate([now], now) == rate([now - 5000] * 9, now) == 0
    counts = {"done": 10, "failed": 1, "running": 2, "pending": 118}
    assert summary_line("s", counts, 1 / 60) == (
        "s: 131 fit(s): 10 done, 1 failed, 2 running, 118 pending; 1.0 a minute, 2.0 h left"
    )
    assert summary_line("s", counts, 0).endswith("118 pending")
    assert summary_line("s", {"done": 3, "pending": 0}, 1.0).endswith("0 pending")


def test_what_a_killed_snakemake_leaves_is_named(tmp_path):
    results, working = tmp_path / "results", tmp_path
    with Heartbeat(results) as progress:
        progress.now([("a", "m")])
        assert leftovers(results, working) == []
        (working / ".snakemake" / "locks").mkdir(parents=True)
        assert leftovers(results, working) == []
        (working / ".snakemake" / "locks" / "0.output.lock").touch()
        first, second = leftovers(results, working)
        assert "snakemake --unlock" in first
        assert second == f"Process {os.getpid()} on {platform.node()} is fitting a m: let it end, or end it."
    assert len(leftovers(results, working)) == 1
