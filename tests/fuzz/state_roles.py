"""Results, single and gathered, and checkpoints."""

import gzip
import json
from pathlib import Path

import h5py
import numpy as np

from socca.posterior import Posterior
from socca.posterior.container import read_container, read_headers, write_container
from socca.posterior.hdf5 import read_text, write_text, write_texts
from socca.posterior.record import FitRecord, Provenance
from socca.posterior.sampler_record import Notes, SamplerRecord
from socca.posterior.storage import ResultLocation, check_result, open_result
from socca.samplers.checkpoint import CheckpointFile
from socca.survey.catalog import build_catalog
from socca.survey.chunks import Chunk
from tests.fuzz.mutations import NASTY, mutated_bytes, mutated_tree

GOLDEN = Path(__file__).parents[1] / "posterior" / "golden"


def posterior(seed):
    """Return a posterior of two free parameters and a tied one."""
    rng = np.random.default_rng(seed)
    notes = Notes(maxima=2, maxima_shares=[0.6, 0.4], marginalized=["a"])
    return Posterior(
        names=["comp_00_a0", "comp_00_a1x"],
        labels=["sky.a0", "sky.a1x"],
        units=["image", ""],
        samples=rng.normal(size=(40, 2)),
        log_weights=np.full(40, -np.log(40)),
        log_likelihood=rng.normal(size=40),
        log_prior=rng.normal(size=40),
        logz=-3.0,
        logz_err=0.1,
        periods=[None, 3.0],
        derived={"b.x": rng.normal(size=40)},
        derived_units={"b.x": "deg"},
        fixed={"sky.rs": 1.0},
        record=FitRecord(
            target="a",
            sampler=SamplerRecord(method="nautilus", n_eff=40.0, converged=True, n_calls=10, notes=notes),
            provenance=Provenance(finished="2026-01-01T00:00:00Z", params={"row": "{}"}),
        ),
    )


def same(one, other):
    """Tell whether two posteriors are the same."""
    arrays = all(
        np.array_equal(getattr(one, key), getattr(other, key), equal_nan=True)
        for key in ("samples", "log_weights", "log_likelihood", "log_prior", "logz", "logz_err", "logz_prior")
    )
    texts = ("names", "labels", "units", "periods", "derived_units", "derived_periods", "fixed", "record")
    return arrays and all(getattr(one, key) == getattr(other, key) for key in texts)


def mutate_group(group, rng):
    """Change the structure of a fit's group; without its checksums, mostly, as files of earlier versions are."""
    if rng.random() < 0.85:
        for key in {"sha256", "samples_sha256"} & set(group.attrs):
            del group.attrs[key]
    for _ in range(rng.integers(1, 3)):
        how = rng.choice(["attribute", "json", "dataset", "dataset", "lost"])
        if how == "attribute":
            set_attribute(group, str(rng.choice(list(group.attrs))), rng)
        elif how == "json":
            key = str(rng.choice([key for key in ("meta", "summary") if key in group.attrs] or ["status"]))
            text = read_text(group, key) if key in group.attrs else ""
            if text[:1] in ("{", "["):
                write_text(group, key, json.dumps(mutated_tree(json.loads(text), rng)))
        elif how == "lost":
            names = [(group, name) for name in group]
            if isinstance(group.get("derived"), h5py.Group):
                names += [(group["derived"], name) for name in group["derived"]]
            if names:
                holder, name = names[rng.integers(len(names))]
                del holder[name]
        elif len(group):
            replace_dataset(group, str(rng.choice(list(group))), rng)


def set_attribute(holder, key, rng):
    """Delete an attribute, or give it another value."""
    if key not in holder.attrs:
        return
    del holder.attrs[key]
    value = NASTY[rng.integers(len(NASTY))]
    is_text = isinstance(value, str) and "\x00" not in value
    if is_text and rng.random() < 0.8:
        write_text(holder, key, value)
    elif is_text or isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**62):
        holder.attrs[key] = value
    elif rng.random() < 0.5:
        odd = [h5py.Empty("f8"), np.arange(6.0).reshape(2, 3), np.bytes_(b"\xff\xfe"), np.complex128(1)]
        holder.attrs[key] = odd[rng.integers(len(odd))]


def replace_dataset(group, name, rng):
    """Put something else in the place of a member."""
    del group[name]
    how = rng.integers(12)
    if how == 0:
        group.create_dataset(name, (10**12, 2), "f8", chunks=(1000, 2), compression="gzip")
    elif how == 1:
        group.create_dataset(name, (40, 2), "f8", external=[("/etc/passwd", 0, 640)])
    elif how == 2:
        layout = h5py.VirtualLayout((40, 2), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "x", (40, 2))
        group.create_virtual_dataset(name, layout)
    elif how == 3:
        group[name] = h5py.ExternalLink("other.h5", "/x")
    elif how == 4:
        group[name] = h5py.SoftLink(str(rng.choice(["/", "/nowhere", f"/{name}", "samples"])))
    elif how == 5:
        group[name] = group
    elif how == 6:
        group.create_group(name).create_group("x")[name] = group
    elif how == 7:
        group[name] = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
    elif how == 8:
        write_texts(group, name, ["no", "numbers"])
    elif how == 9:
        shape = [(), (40,), (2, 40), (40, 3), (0, 2), (40, 2, 1)][rng.integers(6)]
        group[name] = np.full(shape, rng.choice([1.0, np.nan, np.inf, -np.inf]))
    elif how == 10:
        group.create_dataset(name, (2**31, 2**31), "u1", chunks=(2**15, 2**15), compression="gzip")
    else:
        group[name] = np.zeros((40, 2), complex)


class ResultRole:
    """A file of one fit, of this version or of an earlier one."""

    def prepare(self, folder):
        self.path, self.posterior = folder / "p.h5", posterior(1)
        self.posterior.save(self.path)
        self.whole = self.path.read_bytes()
        self.old = [gzip.decompress(path.read_bytes()) for path in sorted(GOLDEN.glob("v*/alone.h5.gz"))]

    def __call__(self, rng):
        how = rng.choice(["bytes", "structure", "old"])
        content = self.old[rng.integers(len(self.old))] if how == "old" else self.whole
        structure = how == "structure" or (how == "old" and rng.random() < 0.5)
        self.path.write_bytes(content if structure else mutated_bytes(content, rng))
        if structure:
            with h5py.File(self.path, "a") as file:
                mutate_group(file, rng)
        self.read(how)

    def read(self, how):
        table = build_catalog([("a", "m", self.path)])  # which never raises
        assert table["status"][0] in ("done", "failed")
        found = Posterior.load(self.path)
        assert how != "bytes" or same(found, self.posterior)
        assert table["status"][0] == "done", table["message"][0]
        assert len(found.summary()) == len(found.names) + len(found.derived)
        with open_result(self.path) as group:
            check_result(group)
        write_container(self.path.with_name("gathered.h5"), {"a": ResultLocation(self.path)})
        assert list(read_headers(self.path.with_name("gathered.h5"))) == ["a"]


class ContainerRole:
    """A container of three fits: what is not damaged is as it was, and can be gathered again."""

    def prepare(self, folder):
        self.chunk = Chunk("m", 0, 1)
        self.path, self.fits = self.chunk.path(folder), {name: posterior(k) for k, name in enumerate("abc")}
        for name, one in self.fits.items():
            one.save(folder / f"{name}.h5")
        write_container(self.path, {name: ResultLocation(folder / f"{name}.h5") for name in self.fits})
        self.whole = self.path.read_bytes()

    def __call__(self, rng):
        how = rng.choice(["bytes", "records", "structure"])
        self.path.write_bytes(mutated_bytes(self.whole, rng) if how == "bytes" else self.whole)
        hurt = None
        if how == "records":
            with h5py.File(self.path, "a") as file:
                entries = json.loads(file["records"][()].tobytes())
                hurt = str(rng.choice(list(entries)))
                entries[hurt] = mutated_tree({"entry": entries[hurt]}, rng).get("entry")
                del file["records"]
                text = json.dumps(entries).encode()
                file["records"] = np.frombuffer(text, np.uint8)
                if rng.random() < 0.1:
                    replace_dataset(file, "records", rng)
                    hurt = "abc"
        elif how == "structure":
            with h5py.File(self.path, "a") as file:
                hurt = str(rng.choice(list(self.fits)))
                if rng.random() < 0.2:
                    replace_dataset(file["fits"], hurt, rng)
                else:
                    mutate_group(file["fits"][hurt], rng)
        places = [(name, "m", ResultLocation(self.path, name)) for name in self.fits]
        assert len(build_catalog(places)) == len(self.fits)
        found = read_container(self.path, whole=True)
        if hurt is not None:
            assert set(self.fits) - set(hurt) <= set(found.intact)
        intact = {name: ResultLocation(self.path, name) for name in found.intact}
        for name, place in intact.items():
            loaded = Posterior.load(*place) if found.intact[name].record.failure is None else None
            if loaded is not None and (how == "bytes" or name != hurt):
                assert same(loaded, self.fits[name]), name
        write_container(self.path.with_name("gathered.h5"), intact)


IDENTITY = {"format": 3, "method": "x", "options": {"a": 1}, "seed": 1, "problem": "abc", "version": {"y": "1.0"}}


class CheckpointRole:
    """A checkpoint, signed or not: the state that was written, or an error."""

    def prepare(self, folder):
        self.path = folder / "fit.socca"
        self.state = {"n": 3, "name": "MT19937", "array": np.arange(60.0).reshape(20, 3), "bytes": b"\x00\xffabc"}
        self.whole = {}
        for signed in (False, True):
            place = CheckpointFile(self.path, IDENTITY, resume=False, signed=signed, spent=lambda: {"calls": 7})
            place.offer(lambda: self.state, last=True)
            self.whole[signed] = self.path.read_bytes()

    def __call__(self, rng):
        signed = bool(rng.random() < 0.3)
        magic, manifest, payload = self.whole[signed].split(b"\n", 2)
        how = rng.choice(["bytes", "manifest", "root", "payload"])
        if how == "bytes":
            content = mutated_bytes(self.whole[signed], rng)
        else:
            tree = json.loads(manifest)
            if how == "manifest":
                tree = mutated_tree(tree, rng)
            elif how == "root":
                tree = NASTY[rng.integers(len(NASTY))]
            else:
                import hashlib

                payload = mutated_bytes(payload, rng)
                tree["sha256"] = hashlib.sha256(payload).hexdigest()
            line = b"[" * 100_000 if rng.random() < 0.02 else json.dumps(tree).encode()
            content = b"\n".join([magic, line, payload])
        self.path.write_bytes(content)
        found = CheckpointFile(self.path, IDENTITY, signed=signed)
        assert float(found.spent.get("calls", 0)) >= 0
        if how != "payload":
            assert found.state.keys() == self.state.keys()
            assert np.array_equal(found.state["array"], self.state["array"])
            assert found.state["bytes"].tobytes() == self.state["bytes"]
