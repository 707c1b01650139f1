"""Models of a survey's targets: targets to which the config gives the same model share one."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from socca.parameters.ties import Tie
from socca.priors import Prior
from socca.survey.config.build_model import build_model

if TYPE_CHECKING:
    from socca.data.image import Image
    from socca.models.model import Model
    from socca.parameters.parameterised import Parameterised
    from socca.survey.config.schema import Config
    from socca.survey.targets import Target

#: Models that are kept; each takes some ten kilobytes.
_MOST = 1000


class _Watched(Mapping[str, float]):
    """Columns of a row that remember which of them were asked for."""

    def __init__(self, columns: Mapping[str, float]) -> None:
        self._columns = columns
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> float:
        self.asked.add(name)
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class ModelCache:
    """Builds models, each once: it depends on the frame of the image, and on the columns that the config names."""

    def __init__(self) -> None:
        self._columns: dict[Hashable, set[str]] = {}
        self._models: dict[Hashable, tuple[Model, Hashable]] = {}

    def build(self, name: str, target: Target, config: Config, image: Image) -> tuple[Model, Hashable]:
        """Return a model for a target; shared, and not to be changed.

        Parameters
        ----------
        name : str
            Name of the model.
        target : Target
            The row of the table.
        config : Config
            The target's.
        image : Image
            Gives the frame.

        Returns
        -------
        model : Model
            As `socca.survey.config.build_model.build_model` returns it.
        structure : Hashable
            See there.

        Raises
        ------
        ConfigError
            As `build_model`.
        """
        if config.models[name].priors == "auto":  # which depend on the pixels
            model = build_model(name, target, config, image)
            return model, structure(model.components)
        which = name, target.name if target.name in config.overrides else ""
        frame = image.frame
        place = frame.on_sky, frame.pixel_scale, frame.center
        if which in self._columns:
            found = self._models.get(self._key(which, place, target))
            if found is not None:
                return found
        watched = _Watched(target.columns)
        model = build_model(name, replace(target, columns=watched), config, image)  # type: ignore[arg-type]
        self._columns[which] = self._columns.get(which, set()) | watched.asked
        if len(self._models) >= _MOST:
            self._models.clear()
        built = self._models[self._key(which, place, target)] = model, structure(model.components)
        return built

    def _key(self, which: Hashable, place: Hashable, target: Target) -> Hashable:
        # A number with a unit means another thing than the same without.
        used = ((name, target.columns.get(name)) for name in sorted(self._columns[which]))
        return which, place, tuple((name, type(value), value) for name, value in used)


def structure(parts: Sequence[Parameterised]) -> Hashable:
    """Return what programs are compiled for: all of components, or of the noise, but numbers.

    Parameters
    ----------
    parts : sequence of Parameterised
        Components, or the noise.

    Returns
    -------
    hashable
        Equal for models of which what compiles, and can be marginalised, is the same.
    """
    return tuple((part.spec(), tuple(map(_kind, part.values.values()))) for part in parts)


def _kind(value: Any) -> Any:
    """Return what is static about the value of a parameter."""
    if isinstance(value, Prior):
        return value.family
    if isinstance(value, Tie):
        return value.names, value.function
    return "fixed" if isinstance(value, float) else value
