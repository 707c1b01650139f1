"""Whether a Slurm runs here, which its tests need."""

import shutil
import subprocess

import pytest


def state():
    """Return the state of the node, as Slurm sees it; nothing where there is no Slurm."""
    if shutil.which("sinfo") is None:
        return ""
    try:
        return subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True, timeout=10).stdout.strip()
    except subprocess.TimeoutExpired:
        return ""


needs_slurm = pytest.mark.skipif(
    state() not in ("idle", "mix"), reason="needs a running Slurm: tests/slurm/start, as root on Debian"
)
