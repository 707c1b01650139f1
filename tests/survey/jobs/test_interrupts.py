"""Ctrl-C: it ends a fit within seconds, whatever that is doing, with one line."""

import signal
import subprocess
import sys
import time

import pytest

from socca.survey.jobs.interrupts import ending_on_interrupt

SCRIPT = """
import hashlib, os, signal, sys, time
from socca.survey.jobs import interrupts
interrupts.PATIENCE = 1.5
def kept(number, frame):
    print("kept", flush=True)
    raise SystemExit(143)
def swallow():
    try:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # minutes in C, as a compilation
    except BaseException:
        print("swallowed", flush=True)
with interrupts.ending_on_interrupt(lambda: print("cleaned", flush=True)):
    print("begun", flush=True)
    {body}
print("over", flush=True)
"""
SAMPLES = "signal.signal(signal.SIGTERM, kept); time.sleep(60)"
STUCK = "signal.signal(signal.SIGTERM, lambda *_: None); swallow()"


@pytest.mark.parametrize(
    ("body", "said", "times"),
    [("swallow()", "cleaned\n", 1), (SAMPLES, "kept\n", 1), (STUCK, "cleaned\n", 1), (STUCK, "cleaned\n", 2)],
    ids=["compiles", "samples", "stuck", "twice"],
)
def test_a_process_ends(body, said, times):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "begun\n"
        for _ in range(times):
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert out == said
    assert err.count("\n") == 1
    assert err.startswith("socca: stopped by Ctrl-C; the same command goes on")


def test_signals_are_given_back():
    handler, wakeup = signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1)
    with ending_on_interrupt(lambda: None):
        assert signal.getsignal(signal.SIGINT) is not handler
    assert signal.getsignal(signal.SIGINT) is handler
    assert signal.set_wakeup_fd(wakeup) == -1


def test_another_end_is_left_alone():
    with pytest.raises(SystemExit) as caught, ending_on_interrupt(lambda: None):
        raise SystemExit(143)
    assert caught.value.code == 143
