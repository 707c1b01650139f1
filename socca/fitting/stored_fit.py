"""Image, model and history of a fit in the file of its posterior."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import socca.models
import socca.noise
import socca.priors  # noqa: F401  (whose classes have their tags then)
from socca.data.image import Image
from socca.errors import DataError, PosteriorError
from socca.fitting.object_tree import Packer, Unpacker
from socca.likelihood.problem import Problem
from socca.parameters.parameterised import Parameterised

if TYPE_CHECKING:
    from socca.models import Model
    from socca.noise import NoiseModel

#: Group of the file, and its version; another one is not read.
GROUP, VERSION = "fit", 1


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
        group = file.create_group(GROUP)
        group.create_dataset("tree", data=np.frombuffer(json.dumps(self.tree).encode(), np.uint8), compression="gzip")
        for k, array in enumerate(self.arrays):
            text = array.dtype.kind == "U"
            squeezed = {"compression": "gzip", "shuffle": True} if array.size > 64 and not text else {}
            group.create_dataset(f"array_{k}", data=np.char.encode(array, "utf-8") if text else array, **squeezed)
            group[f"array_{k}"].attrs["text"] = text
        for k, pickle in enumerate(self.pickles):
            group.create_dataset(f"pickle_{k}", data=np.frombuffer(pickle, np.uint8))


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
        "image": packer.pack(image.state()),
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
        If it is damaged, of another version, or holds pickles that are not allowed.
    """
    if GROUP not in file:
        return None
    try:
        group = _own(file, GROUP)
        tree = json.loads(_own(group, "tree")[()].tobytes())
        if tree["version"] != VERSION:
            raise PosteriorError(f"image and model are of format {tree['version']}, and this version reads {VERSION}")
        count = {word: sum(name.startswith(word) for name in group) for word in ("array_", "pickle_")}
        arrays = [_array(_own(group, f"array_{k}")) for k in range(count["array_"])]
        pickles = [_own(group, f"pickle_{k}")[()].tobytes() for k in range(count["pickle_"])]
        unpacker = Unpacker(arrays, pickles, allow_pickle)
        model, state, history = (unpacker.unpack(tree[key]) for key in ("model", "image", "history"))
        image = Image.from_state(state, _noise(unpacker, tree["noise"], state))
        return StoredFit(image, model, history, str(tree["digest"]))
    except PosteriorError:
        raise
    except (KeyError, OSError, ValueError, AttributeError, TypeError, IndexError, RecursionError) as error:
        raise PosteriorError(f"image and model are damaged, or of another version of socca: {error!r}") from error


def _own(group: Any, name: str) -> Any:
    """Return a member of a group that is in this file: a link or a dataset may lead to another one."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise PosteriorError(f"{group.file.filename}: {name} is missing, or a link to another place")
    found = group[name]
    if isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
        raise PosteriorError(f"{group.file.filename}: {name} is kept in another file")
    return found


def _array(dataset: Any) -> np.ndarray:
    return np.char.decode(dataset[()], "utf-8") if dataset.attrs["text"] else np.asarray(dataset[()])


def _noise(unpacker: Unpacker, tree: Mapping[str, Any], image: Mapping[str, Any]) -> NoiseModel[Any]:
    kind = unpacker.unpack(tree["kind"])
    noise: NoiseModel[Any] = kind.__new__(kind)
    compiled = CompiledNoise(unpacker.unpack(tree["arrays"]), np.array(image["data"]), np.array(image["mask"]))
    noise.__dict__.update(unpacker.unpack(tree["own"]))
    noise.__dict__.update(prepare=compiled, structure=Structure(unpacker.unpack(tree["structure"])))
    return noise
