"""What is the machine's fault, and what that of a file."""

import errno
import os

import h5py
import pytest

from socca.data.fits import read_image
from socca.errors import DataError, MachineError
from socca.utils.files import atomic_path
from socca.utils.machine import machine_fault, raise_if_machine


@pytest.mark.parametrize(
    "name", ["ENOSPC", "EDQUOT", "EIO", "ESTALE", "EROFS", "EMFILE", "ENOLCK", "EACCES", "ENFILE", "EFBIG"]
)
def test_what_a_system_call_refuses(name):
    number = getattr(errno, name)
    assert machine_fault(OSError(number, os.strerror(number), "a.fits")) == str(
        OSError(number, os.strerror(number), "a.fits")
    )
    quoted = OSError(
        f"Can't write data (file write failed: filename = 'p.h5', errno = {number}, error message = '...')"
    )
    assert machine_fault(quoted) == f"[Errno {number}] {os.strerror(number)}: 'p.h5'"


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        IsADirectoryError(errno.EISDIR, "Is a directory"),
        OSError("Header missing END card"),
        EOFError("compressed file ended early"),
        ValueError("errno = 2"),
        RuntimeError("INVALID_ARGUMENT: shapes differ"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_fault_of_the_machine(error):
    assert machine_fault(error) == ""
    raise_if_machine(error)


def test_memory():
    assert machine_fault(MemoryError()) == "out of memory: MemoryError"
    assert machine_fault(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes")).startswith("RESOURCE")


def raised_from(cause, hidden=False):
    try:
        try:
            raise cause
        except type(cause):
            if hidden:
                raise DataError("image: no such file") from None
            raise DataError("image: cannot read a.fits") from cause
    except DataError as error:
        return error


def test_what_an_error_was_raised_from_counts():
    fault = OSError(errno.EIO, "Input/output error")
    assert machine_fault(raised_from(fault)) == "[Errno 5] Input/output error"
    assert machine_fault(raised_from(fault, hidden=True)) == ""
    with pytest.raises(MachineError, match="Input/output error"):
        raise_if_machine(raised_from(fault))


def test_a_file_that_may_not_be_opened_is_the_machine_s(tmp_path, monkeypatch):
    (tmp_path / "a.fits").write_bytes(b"SIMPLE")
    with pytest.raises(DataError) as damaged:
        read_image(tmp_path / "a.fits")
    assert machine_fault(damaged.value) == ""

    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "a.fits")

    monkeypatch.setattr("pathlib.Path.open", refused)
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "a.fits")
    assert "Permission denied" in machine_fault(caught.value)


def write_on_a_full_disk(path):
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file["data"] = [1.0] * 100
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failed_write_says_where_and_leaves_nothing(tmp_path):
    (tmp_path / "p.h5").write_text("before")
    with pytest.raises(OSError, match=r"No space left on device: '.*p\.h5'"):
        write_on_a_full_disk(tmp_path / "p.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["p.h5"]
    assert (tmp_path / "p.h5").read_text() == "before"


def test_content_is_on_the_disk_before_its_name(tmp_path, monkeypatch):
    """File, then rename, then folder: in no other order is a crash harmless."""
    done, fsync, replace = [], os.fsync, os.replace

    def synchronised(handle):
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")  # noqa: PTH112
        fsync(handle)

    def renamed(*names, **options):
        done.append("rename")
        replace(*names, **options)

    monkeypatch.setattr(os, "fsync", synchronised)
    monkeypatch.setattr(os, "replace", renamed)
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
    assert done == ["file", "rename", "folder"]
