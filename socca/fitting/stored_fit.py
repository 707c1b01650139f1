"""Image, model and history of a fit in the file of its posterior."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import socca.priors  # noqa: F401  (whose classes have their tags then)
from socca.data.image import Image
from socca.data.image_state import image_from_state, image_state
from socca.errors import DataError, PosteriorError
from socca.fitting.object_tree import ARRAYS, Packer, Unpacker
from socca.likelihood.problem import Problem
from socca.models import Model
from socca.noise import NoiseModel
from socca.parameters.parameterised import Parameterised
from socca.posterior.contents import FIT_GROUP
from socca.posterior.hdf5 import member, read_array, read_text, write_text

#: Version of the group of the file; another one is not read.
VERSION = 2


@dataclass(frozen=True)
class StoredFit:
    """What a file holds of a fit besides its posterior.

    Parameters
    ----------
    image : Image
        The data, with the noise as it was compiled.
    model : Model
        The model.
    history : dict of ndarray
        What changed during the run.
    digest : str
        Of the problem that was fitted.
    """

    image: Image
    model: Model
    history: Mapping[str, np.ndarray]
    digest: str


@dataclass(frozen=True, eq=False)
class CompiledNoise:
    """Arrays of a noise model for one image, in the place of its `prepare`, which may read files.

    Parameters
    ----------
    arrays : NoiseArrays
        What `prepare` gave.
    data, mask : ndarray, shape (ny, nx)
        Of that image.
    """

    arrays: Any
    data: np.ndarray
    mask: np.ndarray

    def __call__(self, image: Image) -> Any:
        """Return the arrays; `DataError` for another image."""
        if not (np.array_equal(image.data, self.data) and np.array_equal(image.mask, self.mask)):
            raise DataError("noise: that of a loaded fit is for its own image and mask: assign a new one to img.noise")
        return self.arrays


@dataclass(frozen=True, eq=False)
class Structure:
    """The static part of a noise model, in the place of its `structure`."""

    value: Any

    def __call__(self) -> Any:
        """Return it."""
        return self.value


@dataclass(frozen=True, eq=False)
class Packed:
    """A fit as plain data, arrays and pickles; see `socca.fitting.object_tree`."""

    tree: Mapping[str, Any]
    arrays: list[np.ndarray]
    pickles: list[bytes]

    def write(self, file: Any) -> None:
        """Write it into an open HDF5 file."""
        group = file.create_group(FIT_GROUP)
        group.create_dataset("tree", data=np.frombuffer(json.dumps(self.tree).encode(), np.uint8), compression="gzip")
        for k, array in enumerate(self.arrays):
            text = array.dtype.kind == "U"
            squeezed = {"compression": "gzip", "shuffle": True} if array.size > 64 and not text else {}
            group.create_dataset(f"array_{k}", data=np.char.encode(array, "utf-8") if text else array, **squeezed)
        for k, pickle in enumerate(self.pickles):
            group.create_dataset(f"pickle_{k}", data=np.frombuffer(pickle, np.uint8))
        write_text(group, "sha256", _digest(group))


def packed(problem: Problem, image: Image, model: Model, history: Mapping[str, np.ndarray]) -> Packed:
    """Return a fit as plain data and arrays.

    Parameters
    ----------
    problem : Problem
        What was fitted.
    image, model : Image, Model
        What it was compiled from.
    history : mapping of str to ndarray
        What changed during the run.

    Returns
    -------
    Packed
        For a file. Noise is kept as the problem has it, without the files that it was read from.
    """
    packer = Packer()
    noise = image.noise
    own = {key: value for key, value in vars(noise).items() if key in vars(Parameterised())}
    tree = {
        "version": VERSION,
        "digest": problem.digest(),
        "image": packer.pack(image_state(image)),
        "model": packer.pack(model),
        "history": packer.pack(dict(history)),
        "noise": {
            "kind": packer.pack(type(noise)),
            "own": packer.pack(own),
            "structure": packer.pack(noise.structure()),
            "arrays": packer.pack(problem.arrays["noise"]),
        },
    }
    return Packed(tree, packer.arrays, packer.pickles)


def read_fit(file: Any, allow_pickle: bool) -> StoredFit | None:
    """Return the fit that an open HDF5 file holds.

    Parameters
    ----------
    file : h5py.Group
        From `socca.posterior.storage.open_result`.
    allow_pickle : bool
        Whether to open pickles.

    Returns
    -------
    StoredFit or None
        None if there is only a posterior.

    Raises
    ------
    PosteriorError
        If it is of another version, or holds pickles that are not allowed.
    Exception
        Of any kind, if it is damaged.
    """
    import h5py

    if FIT_GROUP not in file:
        return None
    group = member(file, FIT_GROUP, h5py.Group)
    tree = json.loads(_bytes(group, "tree"))
    if tree["version"] != VERSION:
        raise PosteriorError(f"image and model are of format {tree['version']}, and this version reads {VERSION}")
    if read_text(group, "sha256") != _digest(group):
        raise ValueError("they do not match their checksum")
    count = {word: sum(name.startswith(word) for name in group) for word in ("array_", "pickle_")}
    arrays = [_array(group, f"array_{k}") for k in range(count["array_"])]
    pickles = [_bytes(group, f"pickle_{k}") for k in range(count["pickle_"])]
    unpacker = Unpacker(arrays, pickles, allow_pickle)
    model, state, history = (unpacker.unpack(tree[key]) for key in ("model", "image", "history"))
    if not isinstance(model, Model):
        raise ValueError("the model is none")
    image = image_from_state(state, _noise(unpacker, tree["noise"], state))
    return StoredFit(image, model, history, str(tree["digest"]))


def _bytes(group: Any, name: str) -> bytes:
    return read_array(group, name, kinds="u").tobytes()


def _array(group: Any, name: str) -> np.ndarray:
    found = read_array(group, name, None, ARRAYS.replace("U", "S"))
    return np.char.decode(found, "utf-8") if found.dtype.kind == "S" else found


def _digest(group: Any) -> str:
    """Return the SHA-256 of tree, arrays and pickles, in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(group):
        values = read_array(group, name, None, ARRAYS.replace("U", "S"))
        digest.update(json.dumps([name, values.dtype.str, values.shape]).encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _noise(unpacker: Unpacker, tree: Mapping[str, Any], image: Mapping[str, Any]) -> NoiseModel[Any]:
    kind = unpacker.unpack(tree["kind"])
    if not issubclass(kind, NoiseModel):
        raise ValueError("the noise model is none")
    noise: NoiseModel[Any] = kind.__new__(kind)
    compiled = CompiledNoise(unpacker.unpack(tree["arrays"]), np.array(image["data"]), np.array(image["mask"]))
    noise.__dict__.update(unpacker.unpack(tree["own"]))
    noise.__dict__.update(prepare=compiled, structure=Structure(unpacker.unpack(tree["structure"])))
    return noise
