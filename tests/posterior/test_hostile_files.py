"""Results that were made to harm: what lies elsewhere, takes memory or keeps the reader waiting is refused."""

import gzip
import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from socca.errors import PosteriorError
from socca.posterior import Posterior
from socca.posterior.container import read_container, read_headers, write_container
from socca.posterior.hdf5 import write_text
from socca.posterior.record import Failure, FitRecord
from socca.posterior.sampler_record import SamplerRecord
from socca.posterior.storage import ResultLocation, check_result, header_of, open_result, save_failure

SECRET = np.arange(100.0)
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def path(tmp_path):
    """Return the file of a posterior, beside one whose content it must not show."""
    rng = np.random.default_rng(1)
    n = 50
    Posterior(
        names=["comp_00_a0", "comp_00_a1x"],
        labels=["sky.a0", "sky.a1x"],
        units=["image", ""],
        samples=rng.normal(size=(n, 2)),
        log_weights=np.full(n, -np.log(n)),
        log_likelihood=rng.normal(size=n),
        log_prior=rng.normal(size=n),
        logz=-3.0,
        logz_err=0.1,
        periods=[None, None],
        derived={"b.x": rng.normal(size=n)},
        derived_units={"b.x": "deg"},
        fixed={"sky.rs": 1.0},
        record=FitRecord(sampler=SamplerRecord(n_eff=50.0)),
    ).save(tmp_path / "p.h5")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = SECRET.reshape(50, 2)
        file["line"] = SECRET[:50]
    SECRET.tofile(tmp_path / "secret.bin")
    return tmp_path / "p.h5"


def change(path, edit, *, forge=True):
    """Edit a file; without its checksums, as of an earlier version, unless told otherwise."""
    with h5py.File(path, "a") as file:
        if forge:
            del file.attrs["sha256"], file.attrs["samples_sha256"]
        edit(file)


def external(file):
    del file["samples"]
    file.create_dataset("samples", (50, 2), "f8", external=[(Path(file.file.filename).with_name("secret.bin"), 0, 800)])


def virtual(file):
    del file["samples"]
    layout = h5py.VirtualLayout((50, 2), "f8")
    layout[:] = h5py.VirtualSource(Path(file.file.filename).with_name("secret.h5"), "x", (50, 2))
    file.create_virtual_dataset("samples", layout)


def linked(name, link):
    def edit(file):
        del file[name]
        file[name] = link

    return edit


def dataset(name, *args, **kwargs):
    def edit(file):
        if name in file:
            del file[name]
        file.create_dataset(name, *args, **kwargs)

    return edit


def attribute(name, value):
    def edit(file):
        if isinstance(value, str):
            write_text(file, name, value)
        else:
            file.attrs[name] = value

    return edit


def entry(key, value):
    """Change a key of the record."""

    def edit(file):
        write_text(file, "meta", json.dumps({**json.loads(file.attrs["meta"]), key: value}))

    return edit


def loop(file):
    del file["derived"]
    file["derived"] = file["/"]


OUTSIDE = {
    "external storage": (external, "'samples' lies in another file"),
    "virtual dataset": (virtual, "'samples' lies in another file"),
    "external link": (linked("log_prior", h5py.ExternalLink("secret.h5", "/line")), "'log_prior' is a link"),
    "external group": (linked("derived", h5py.ExternalLink("secret.h5", "/")), "'derived' is a link"),
    "soft link": (linked("log_prior", h5py.SoftLink("/log_likelihood")), "'log_prior' is a link"),
    "recursion": (loop, "is no dataset|has the shape"),
}
LARGE = {
    "never written": (
        dataset("samples", (10**12, 2), "f8", chunks=(1000, 2), compression="gzip"),
        "more than the file",
    ),
    "of no use": (dataset("unknown", (10**12,), "f8", chunks=(1000,)), "more than the file"),
    "large chunk": (dataset("samples", (50, 2), "f8", chunks=(10**8, 2), maxshape=(None, 2)), "more than the file"),
    "names": (dataset("names", (10**12,), h5py.string_dtype(), chunks=(1000,)), "more than the file"),
}
WRONG = {
    "other periods": (dataset("periods", data=np.zeros(3)), r"'periods' has the shape \(3,\), expected \(2\)"),
    "no values at all": (dataset("log_prior", data=h5py.Empty("f8")), "'log_prior' is empty"),
    "texts": (dataset("log_prior", data=["a"] * 50), "'log_prior' holds no numbers"),
    "complex": (dataset("samples", data=np.zeros((50, 2), complex)), "'samples' holds no numbers"),
    "record type": (dataset("periods", data=np.zeros(2, [("a", "f8")])), "'periods' holds no numbers"),
    "transposed": (dataset("samples", data=np.zeros((2, 50))), r"'samples' has the shape \(2, 50\), expected"),
    "shorter": (dataset("log_weights", data=np.zeros(49)), r"'log_weights' has the shape \(49,\), expected \(50\)"),
    "no name": (dataset("names", data=np.array([b"a"])), r"shape \(50, 2\), expected \(any, 1\)"),
    "no number": (attribute("logz", "high"), "'logz' is no number"),
    "no text": (attribute("meta", 3.0), "'meta' is no text"),
    "list": (attribute("logz", [1.0, 2.0]), "'logz' is no number"),
    "no JSON": (attribute("meta", "{"), "is damaged"),
    "nested": (attribute("meta", "[" * 100_000), "is damaged"),
    "no summary": (attribute("summary", '{"a": 1}'), "expected a list, got dict"),
    "no entry": (attribute("summary", '[{"label": "a"}]'), "lacks 'unit'"),
    "texts of any length": (lambda file: file.attrs.__setitem__("status", "done"), "'status' is no text"),
    "names of any length": (dataset("names", data=["a", "b"]), "'names' holds no texts"),
    "status": (attribute("status", "well"), "its status is 'well'"),
    "NaN samples": (dataset("samples", data=np.full((50, 2), np.nan)), "not finite"),
    "NaN weights": (dataset("log_weights", data=np.full(50, np.nan)), "not finite"),
    "no weight": (dataset("log_weights", data=np.full(50, -np.inf)), "no sample has any weight"),
    "text in record": (entry("n_calls", "many"), "n_calls: expected a whole number, got str 'many'"),
    "kind of part": (entry("fit", [1]), "fit: expected a mapping"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*OUTSIDE, *LARGE, *WRONG])
def test_what_is_wrong_is_named(path, case):
    edit, said = (OUTSIDE | LARGE | WRONG)[case]
    change(path, edit)
    with pytest.raises(PosteriorError, match=said) as caught, open_result(path) as group:
        check_result(group)
    assert str(path) in str(caught.value)
    assert "delete the file, and run the fit again" in str(caught.value)
    # Nothing of it comes into a container, not as a link either.
    with pytest.raises(PosteriorError, match=said):
        write_container(path.with_name("many.h5"), {"a": ResultLocation(path)})
    assert not path.with_name("many.h5").exists()


@pytest.mark.parametrize("case", OUTSIDE)
def test_the_same_in_a_container(path, case):
    many = path.with_name("many.h5")
    write_container(many, {"a": ResultLocation(path), "b": ResultLocation(path)})
    edit, said = OUTSIDE[case]
    with h5py.File(many, "a") as file:
        del file["fits/a"].attrs["sha256"], file["fits/a"].attrs["samples_sha256"]
        edit(file["fits/a"])
    with pytest.raises(PosteriorError, match=rf"many\.h5: fit of a: is damaged: .*({said})"):
        Posterior.load(many, "a")
    assert Posterior.load(many, "b").logz == -3
    found = read_container(many, whole=True)
    assert list(found.intact) == ["b"]
    assert "run the survey again, which makes this fit anew" in str(found.damaged["a"])


def test_a_fit_that_is_a_link_is_refused(path):
    many, other = path.with_name("many.h5"), path.with_name("other.h5")
    write_container(many, {"a": ResultLocation(path)})
    write_container(other, {"a": ResultLocation(path)})
    with h5py.File(many, "a") as file:
        del file["fits/a"]
        file["fits/a"] = h5py.ExternalLink("other.h5", "/fits/a")
    with pytest.raises(PosteriorError, match="'a' is a link"):
        Posterior.load(many, "a")
    for name in ("a/derived", ".", "", "/fits/a"):
        with pytest.raises(PosteriorError, match=r"many\.h5: has no fit of"):
            Posterior.load(many, name)


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "device"])
def test_what_is_no_file_is_not_read(tmp_path, kind):
    path = tmp_path / "p.h5"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    for read in (Posterior.load, read_container):
        with pytest.raises(PosteriorError, match=r"p\.h5: cannot be read: it is no regular file"):
            read(path)


def test_memory_is_not_taken_for_what_is_not_there(path):
    """With 1 GB of address space beyond what the imports take."""
    change(path, LARGE["never written"][0])
    many = path.with_name("many.h5")
    with h5py.File(many, "w") as file:
        file.attrs.update({"format": "socca-posteriors", "format_version": 2})
        file.create_dataset("records", (10**12,), "u1", chunks=(10**6,), compression="gzip")
    code = f"""
import resource, h5py
from pathlib import Path
from socca.errors import PosteriorError
from socca.posterior import Posterior
from socca.posterior.container import read_headers
used = int(Path("/proc/self/statm").read_text().split()[0]) * {resource.getpagesize()}
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))
for read, path in ((Posterior.load, {str(path)!r}), (read_headers, {str(many)!r})):
    try:
        read(path)
    except PosteriorError as error:
        assert "more than the file holds" in str(error), error
    else:
        raise SystemExit("was read")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("what", ["samples", "periods", "names", "b.x", "meta", "summary"])
def test_a_flipped_bit_is_found(path, what):
    """Of what HDF5 has no checksum of as well: texts, and numbers that are not compressed."""
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        if what in ("meta", "summary"):
            place = content.index(file.attrs[what]) + len(file.attrs[what]) // 2
        elif what == "names":
            place = content.index(b"comp_00_a1x") + 9
        else:
            found = file[what] if what in file else file["derived"][what]
            place = (found.id.get_chunk_info(0).byte_offset if found.chunks else found.id.get_offset()) + 7
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(PosteriorError, match=r"p\.h5: is damaged"):
        Posterior.load(path)


@pytest.mark.parametrize("step", [0, 2**64 - 16, 2**40])
def test_a_heap_that_never_ends_is_refused(tmp_path, step):
    """In files of earlier versions; HDF5 would go round in it for ever."""
    path = tmp_path / "alone.h5"
    content = bytearray(gzip.decompress((GOLDEN / "v1" / "alone.h5.gz").read_bytes()))
    start = content.index(b"GCOL")
    path.write_bytes(content)
    assert Posterior.load(path).labels == ["star.xc", "star.Ic"]
    index = int.from_bytes(content[start + 16 : start + 18], "little")
    assert index > 0
    if step == 0:
        content[start + 16 : start + 18] = bytes(2)  # free space, of no bytes
    content[start + 24 : start + 32] = step.to_bytes(8, "little")
    path.write_bytes(content)
    for read in (Posterior.load, read_container):
        with pytest.raises(PosteriorError, match=r"alone\.h5: cannot be read: a heap of its texts is damaged"):
            read(path)


def test_heaps_within_heaps_take_no_time(tmp_path):
    """A heap begins at each object of the ones before: looked at from each, they would take the square of the size."""
    path = tmp_path / "alone.h5"
    content = gzip.decompress((GOLDEN / "v1" / "alone.h5.gz").read_bytes())
    count = 2**14
    heaps = (b"GCOL\x01\0\0\0" + (32 * count).to_bytes(8, "little") + b"\x01\0" + bytes(14)) * count
    path.write_bytes(content + heaps)
    start = time.process_time()
    with pytest.raises(PosteriorError, match="a heap of its texts is damaged"):
        Posterior.load(path)
    assert time.process_time() - start < 2


def test_no_evidence_is_not_damage(path):
    change(path, attribute("logz", np.nan))
    assert np.isnan(Posterior.load(path).logz)
    with open_result(path) as group:
        assert np.isnan(header_of(group).logz)


def test_a_failure_may_be_damaged_too(tmp_path):
    path = tmp_path / "p.h5"
    save_failure(path, FitRecord(target="a", failure=Failure("no PSF")))
    with h5py.File(path, "a") as file:
        write_text(file, "message", "no image")
    with pytest.raises(PosteriorError, match="do not match their checksum"):
        Posterior.load(path)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "expected a mapping, got NoneType"),
        ([], "expected a mapping, got list"),
        ({}, "lacks 'status'"),
        ({"status": "done", "message": "", "meta": {}}, "lacks 'logz'"),
        ({"status": "failed", "message": 3, "meta": {}}, "expected text, got int 3"),
        ({"status": 1}, "its status is 1"),
        ({"status": "failed", "message": "", "meta": {"timing": {"total": "long"}}}, "timing.total: expected a number"),
    ],
)
def test_a_damaged_record_costs_its_own_target(path, value, said, caplog):
    many = path.with_name("many.h5")
    write_container(many, {name: ResultLocation(path) for name in "abc"})
    with h5py.File(many, "a") as file:
        entries = json.loads(file["records"][()].tobytes())
        entries["b"] = value
        del file["records"]
        file["records"] = np.frombuffer(json.dumps(entries).encode(), np.uint8)
    found = read_container(many)
    assert list(found.intact) == ["a", "c"]
    assert f"{many}: fit of b: is damaged: " in str(found.damaged["b"])
    assert said in str(found.damaged["b"])
    assert list(read_headers(many)) == ["a", "c"]
    assert caplog.messages == [str(found.damaged["b"])]


@pytest.mark.parametrize("records", ["[]", "3", "{", "[" * 100_000])
def test_a_container_without_records_is_damaged_as_a_whole(path, records):
    many = path.with_name("many.h5")
    write_container(many, {"a": ResultLocation(path)})
    with h5py.File(many, "a") as file:
        del file["records"]
        file["records"] = np.frombuffer(records.encode(), np.uint8)
    with pytest.raises(PosteriorError, match=r"many\.h5: is damaged.*run the survey again"):
        read_container(many)
