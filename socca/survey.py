"""A survey: a config and its targets, and where everything lies. This is what the Snakefile asks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import socca
from socca.config import Config, load_config, settings_digest
from socca.errors import ConfigError, nearest
from socca.targets import Target, from_columns, load_targets


@dataclass(frozen=True)
class Survey:
    """A config and its targets.

    Parameters
    ----------
    config : Config
        The config.
    targets : dict of Target
        By name.
    """

    config: Config
    targets: dict[str, Target]

    @classmethod
    def load(cls, path: str | Path, targets: str | Path | None = None) -> Survey:
        """Read a config and its table of targets.

        Parameters
        ----------
        path : str or Path
            The config.
        targets : str or Path, optional
            Use this table instead of the config's.

        Returns
        -------
        Survey
            The survey. One whose images are simulated need not have them yet.

        Raises
        ------
        ConfigError
            If either is wrong, or a target asks for a model that the config lacks.
        """
        config = load_config(path, targets)
        if config.simulate is not None:
            from socca.simulate import plan

            rows = plan(config.simulate.number, config.table.parent)
            columns = {key: [_missing(row[key]) for row in rows] for key in rows[0]}
            found = from_columns(columns, config.table.parent, "simulated targets")
        else:
            found = load_targets(config.table)
            if not any(target.files["image"].is_file() for target in found.values()):
                first = next(iter(found.values())).files["image"]
                raise ConfigError(
                    f"{config.table}: not one of its images is there, such as {first}: a disk not mounted?"
                )
        for target in found.values():
            for model in target.models:
                if model not in config.models:
                    raise ConfigError(
                        f"{config.table}: {target.name}: unknown model {model!r}{nearest(model, config.models)}"
                    )
        for name in config.overrides:
            if name not in found:
                raise ConfigError(f"overrides: unknown target {name!r}{nearest(name, found)}")
        return cls(config, found)

    def target(self, name: str) -> Target:
        """Return a target by name; an unknown one is a `ConfigError`."""
        if name not in self.targets:
            raise ConfigError(f"unknown target {name!r}{nearest(name, self.targets)}")
        return self.targets[name]

    def models_of(self, target: Target) -> tuple[str, ...]:
        """Return the models that are fitted to a target."""
        return target.models or tuple(self.config.models)

    def fits(self) -> list[tuple[str, str]]:
        """Return every (target, model) that is fitted, in the order of the table."""
        return [(name, model) for name, target in self.targets.items() for model in self.models_of(target)]

    def path(self, target: str, model: str, name: str) -> Path:
        """Return where a file of one fit lies, such as ``posterior.h5``."""
        return self.config.folder / "fits" / target / model / name

    def results(self) -> list[tuple[str, str, Path]]:
        """Return (target, model, file of the posterior) of every fit."""
        return [(target, model, self.path(target, model, "posterior.h5")) for target, model in self.fits()]

    def inputs(self, target: str) -> list[str]:
        """Return the files that a fit of a target reads.

        A file that does not exist is left out, so that it costs its own target only, whose fit then records what is
        missing. Once it appears, the set of inputs has changed, and the target is fitted again.
        """
        noise = self.config.for_target(target).noise.files(self.config.table.parent)
        files = [*self.target(target).files.values(), *noise.values()]
        return [str(file) for file in files if self.config.simulate is not None or file.exists()]

    def simulated_files(self) -> list[str]:
        """Return the images that the simulation writes."""
        return sorted({str(file) for target in self.targets.values() for file in target.files.values()})

    def fit_params(self, target: str, model: str) -> dict[str, Any]:
        """Return all that a fit depends on besides its files; a change of any of it makes the fit run again."""
        return {
            "row": self.target(target).row,
            "settings": settings_digest(self.config.fit_settings(target, model)),
            "socca": socca.__version__,
        }

    def seed(self, target: str, model: str) -> int:
        """Return the seed of one fit: another for each, whatever else is in the survey."""
        text = f"{self.config.seed}/{target}/{model}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _missing(value: Any) -> Any:
    """Turn NaN, which a row of a simulation has where there is nothing, into None, as a table on disk gives it."""
    return None if isinstance(value, float) and value != value else value
