"""Survey: a config, its targets and jobs, and the paths of their files. The Snakefile asks it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from socca.errors import ConfigError, nearest
from socca.likelihood.revision import LIKELIHOOD_REVISION, stated
from socca.posterior.storage import ResultLocation
from socca.survey.chunks import Chunk, divided, number_of
from socca.survey.config.plugins import plugins_of
from socca.survey.config.schema import Config, load_config, settings_digest
from socca.survey.freshness import size_and_time
from socca.survey.targets import Target, from_columns, load_targets
from socca.utils.files import exists


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
    def load(cls, path: str | Path, targets: str | Path | None = None, only: Container[str] | None = None) -> Survey:
        """Read a config and its table of targets.

        Parameters
        ----------
        path : str or Path
            The config.
        targets : str or Path, optional
            Use this table instead of the config's.
        only : container of str, optional
            Leave the other targets out, unseen: a process that fits a few needs no more of a long table.

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
            from socca.simulation.simulate import plan

            rows = plan(config.simulate.number, config.table.parent)
            columns = {key: [_missing(row[key]) for row in rows] for key in rows[0]}
            found = from_columns(columns, config.table.parent, "simulated targets", only)
        else:
            try:
                found = load_targets(config.table, only)
            except ConfigError as error:
                raise ConfigError(f"{path}: targets: {error}") from error
            if only is None and not any(exists(target.files["image"]) for target in found.values()):
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
            if name not in found and only is None:
                raise ConfigError(f"{path}: overrides: unknown target {name!r}{nearest(name, found)}")
        return cls(config, found)

    @functools.cached_property
    def _settings(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {}

    def target(self, name: str) -> Target:
        """Return a target by name; an unknown one is a `ConfigError`."""
        if name not in self.targets:
            raise ConfigError(f"unknown target {name!r}{nearest(name, self.targets)}")
        return self.targets[name]

    def models_of(self, target: Target) -> tuple[str, ...]:
        """Return the models that are fitted to a target."""
        return target.models or tuple(self.config.models)

    def jobs(self) -> list[tuple[str, str]]:
        """Return every (target, model) that is fitted, in the order of the table."""
        return [(name, model) for name, target in self.targets.items() for model in self.models_of(target)]

    def path(self, target: str, model: str, name: str) -> Path:
        """Return where a file of one fit lies, such as ``posterior.h5``."""
        return self.config.folder / "fits" / target / model / name

    def figure(self, target: str, model: str) -> Path:
        """Return where the comparison figure of one fit lies."""
        return self.path(target, model, f"comparison.{self.config.plots.format}")

    @property
    def chunked(self) -> bool:
        """Whether several fits share a job and a file."""
        return self.config.batch.chunk > 1

    @functools.cached_property
    def chunks(self) -> dict[Chunk, list[str]]:
        """The targets of each chunk."""
        targets: dict[str, list[str]] = {}
        for target, model in self.jobs():
            targets.setdefault(model, []).append(target)
        size = self.config.batch.chunk
        return {key: names for model in targets for key, names in divided(model, targets[model], size).items()}

    def with_pool(self, kind: str | None = None, cores: int | None = None) -> Survey:
        """Return the survey with the pool that is asked for, or that the allocation has the cores for.

        Parameters
        ----------
        kind : str, optional
            One of `socca.pool.KINDS`, instead of the config's.
        cores : int, optional
            Instead of those of a Slurm task (``SLURM_CPUS_PER_TASK``), or of the config.

        Returns
        -------
        Survey
            With all else as it is.

        Raises
        ------
        ConfigError
            If the sampler cannot use that pool, or it cannot be had.
        """
        from socca.pool import chosen_kind
        from socca.samplers import get_sampler

        pool = self.config.pool
        sampler = get_sampler(self.config.sampler.method)
        given = os.environ.get("SLURM_CPUS_PER_TASK", "")
        if cores is None and given.isdecimal() and (sampler.parallel or self.chunked) and kind != "serial":
            cores = max(1, int(given))
        elif cores is None:
            cores = 1 if kind == "serial" else pool.cores
        pool = pool.model_copy(update={"kind": str(kind or pool.kind), "cores": cores})
        # The cores of a chunk fit targets side by side, unless the workers of loky are asked for.
        shared = 1 if self.chunked and pool.kind == "auto" else cores
        sampler.validate_pool(chosen_kind(pool.kind, shared))
        return replace(self, config=self.config.model_copy(update={"pool": pool}))

    def members(self, chunk: Chunk) -> list[str]:
        """Return the targets of a chunk, whether the rest of the table was read or not."""
        return [
            name
            for name, target in self.targets.items()
            if number_of(name, chunk.count) == chunk.number and chunk.model in self.models_of(target)
        ]

    def chunks_of(self, fits: Iterable[tuple[str, str]]) -> list[Chunk]:
        """Return the chunks that hold any of these targets and models."""
        wanted = set(fits)
        return [
            chunk
            for chunk, targets in self.chunks.items()
            if any((target, chunk.model) in wanted for target in targets)
        ]

    def results(self) -> list[tuple[str, str, ResultLocation]]:
        """Return (target, model, where its result is) of every fit, in the order of the table."""
        if not self.chunked:
            return [
                (target, model, ResultLocation(self.path(target, model, "posterior.h5")))
                for target, model in self.jobs()
            ]
        paths = {
            (target, chunk.model): chunk.path(self.config.folder)
            for chunk, targets in self.chunks.items()
            for target in targets
        }
        return [(target, model, ResultLocation(paths[target, model], target)) for target, model in self.jobs()]

    def files(self, target: str) -> dict[str, Path]:
        """Return the files that a fit of a target reads, by what they are to it."""
        noise = self.config.for_target(target).noise.files(self.config.table.parent)
        return {**self.target(target).files, **noise}

    def inputs(self, target: str) -> list[str]:
        """Return the files that a fit of a target reads.

        A file that does not exist is left out, so that it costs its own target only, whose fit then records what is
        missing. Once it appears, the set of inputs has changed, and the target is fitted again.
        """
        return [str(file) for file in self.files(target).values() if self.config.simulate is not None or exists(file)]

    def state(self, chunk: Chunk) -> str:
        """Return a digest of all that a chunk's posteriors are made from: settings, rows, sizes and times of files.

        Of files that the survey simulates itself, nothing but the names: they are made after this is asked.
        """
        simulated = self.config.simulate is not None
        digest = hashlib.sha256(json.dumps(self.config.batch.caps).encode())
        for target in sorted(self.chunks[chunk]):
            params = self.stated_params(target, chunk.model)
            files = {role: simulated or size_and_time(path) for role, path in self.files(target).items()}
            digest.update(json.dumps([target, params, files]).encode())
        return digest.hexdigest()[:16]

    def stamp(self, chunk: Chunk) -> Path:
        """Return the file that is there once a chunk is up to date.

        One that is there without the chunk's posteriors says nothing, and is deleted.
        """
        stamp = chunk.stamp(self.config.folder, self.state(chunk))
        if not chunk.path(self.config.folder).exists():
            stamp.unlink(missing_ok=True)
        return stamp

    @property
    def order(self) -> str:
        """A digest of which rows a catalogue has, in which order."""
        return hashlib.sha256(json.dumps(self.jobs()).encode()).hexdigest()[:16]

    def simulated_files(self) -> list[str]:
        """Return the images that the simulation writes."""
        return sorted({str(file) for target in self.targets.values() for file in target.files.values()})

    def fit_params(self, target: str, model: str) -> dict[str, Any]:
        """Return all that a fit depends on besides its files; a change of any of it makes the fit run again.

        Returns
        -------
        dict
            ``row``, the target's; ``settings``, a digest; ``likelihood``, its revision; and ``plugins``, what they are
            and of which version, if the fit uses any.
        """
        return {"row": self.target(target).row, **self._common(target, model), "likelihood": LIKELIHOOD_REVISION}

    def stated_params(self, target: str, model: str) -> dict[str, Any]:
        """Return `fit_params` as Snakemake and the stamps of chunks compare them, text with text."""
        common = dict(self._common(target, model))
        plugins = {"plugins": common.pop("plugins")} if "plugins" in common else {}
        return {"row": self.target(target).row, **common, **stated(), **plugins}

    def _common(self, target: str, model: str) -> dict[str, Any]:
        """Return what the fits of a model, to all targets without overrides, depend on."""
        key = (target if target in self.config.overrides else "", model)
        if key not in self._settings:
            settings = self.config.fit_settings(target, model)
            self._settings[key] = {"settings": settings_digest(settings)}
            plugins = {f"{plugin.kind} {plugin.name}": plugin.release for plugin in plugins_of(settings)}
            if plugins:
                self._settings[key]["plugins"] = plugins
        return self._settings[key]

    def seed(self, target: str, model: str) -> int:
        """Return the seed of one fit: another for each, whatever else is in the survey."""
        text = f"{self.config.seed}/{target}/{model}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _missing(value: Any) -> Any:
    """Turn NaN, which a row of a simulation has where there is nothing, into None, as a table on disk gives it."""
    return None if isinstance(value, float) and value != value else value
