"""Survey: a config, its targets and jobs, and the paths of their files. The Snakefile asks it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from socca.data.pixels import MAX_PIXELS
from socca.data.rereading import read_otherwise
from socca.errors import ConfigError, nearest
from socca.likelihood.revision import LIKELIHOOD_REVISION, stated
from socca.posterior.record import FitRecord
from socca.posterior.storage import ResultLocation
from socca.survey.chunks import Chunk, divided, number_of
from socca.survey.config.plugins import plugins_of
from socca.survey.config.schema import Config, load_config, settings_digest
from socca.survey.freshness.input_files import file_state
from socca.survey.freshness.reasons import reason_to_fit, relevant_row
from socca.survey.freshness.recorded_settings import changed_keys
from socca.survey.targets import NOISE_COLUMNS, Target, from_columns, load_targets
from socca.utils.files import exists

#: References to columns of the table, in values of a config.
_COLUMN = re.compile(r"\$([A-Za-z_]\w*)")


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

    @functools.cached_property
    def _columns(self) -> dict[tuple[str, str], frozenset[str]]:
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

    def state(self, chunk: Chunk) -> str:
        """Return a digest of all that a chunk's posteriors are made from; see `state_of`."""
        return self.state_of(self.chunks[chunk], chunk.model)

    def state_of(self, targets: Iterable[str], model: str) -> str:
        """Return a digest of all that the fits of a model depend on: settings, rows, sizes and times of files.

        Of files that the survey simulates itself, nothing but the names: they are made after this is asked.
        """
        simulated = self.config.simulate is not None
        digest = hashlib.sha256(json.dumps(self.config.batch.caps).encode())
        for target in sorted(targets):
            params = self.stated_params(target, model)
            files = {role: simulated or file_state(path) for role, path in self.files(target).items()}
            # A limit by default is left out, as in states of before there was one.
            limit = self._max_pixels(target)
            digest.update(json.dumps([target, params, files, *([] if limit == MAX_PIXELS else [limit])]).encode())
        return digest.hexdigest()[:16]

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
            ``row``, what the fit uses of the target's; ``settings``, a digest; ``likelihood``, its revision; and
            ``plugins``, what they are and of which version, if the fit uses any.
        """
        return {"row": self._row(target, model), **self._common(target, model), "likelihood": LIKELIHOOD_REVISION}

    def stated_params(self, target: str, model: str) -> dict[str, Any]:
        """Return `fit_params` as stamps compare them, text with text."""
        common = dict(self._common(target, model))
        plugins = {"plugins": common.pop("plugins")} if "plugins" in common else {}
        return {"row": self._row(target, model), **common, **stated(), **plugins}

    def reason_to_fit(
        self, target: str, model: str, record: FitRecord | None, *, exact: bool = True, failed: bool = False
    ) -> str:
        """Say why a target has to be fitted (again), or nothing; see `socca.survey.freshness.reasons.reason_to_fit`."""

        def changed(digest: str) -> list[str]:
            return changed_keys(self.config.folder, digest, self.config.fit_settings(target, model), model)

        def reread(role: str) -> str:
            own, one = self.config.for_target(target), self.target(target)
            if role not in one.files:
                hdu = own.noise.hdu_of(role, self.config.table.parent)
            else:
                hdu = one.hdus.get(role, own.noise.hdu if role in NOISE_COLUMNS else own.image.hdu_of(role))
            # Of all others, the shape alone is compared with the image's.
            sky = own.image.frame != "pixel" and role in ("image", "mask")
            return read_otherwise(self.files(target)[role], hdu, role, sky=sky)

        params = self.fit_params(target, model)
        caps = self.config.batch.caps | {"max_pixels": self._max_pixels(target)}
        return reason_to_fit(
            record, self.files(target), params, caps, exact=exact, failed=failed, changed=changed, reread=reread
        )

    def stale(self, target: str, model: str, record: FitRecord) -> str:
        """Say why a result is not that of the files, the row and the config of now, or nothing, for a catalogue."""
        return self.reason_to_fit(target, model, replace(record, failure=None), exact=False)

    def _max_pixels(self, target: str) -> int:
        return self.config.for_target(target).image.max_pixels

    def _row(self, target: str, model: str) -> str:
        """Return what a fit uses of the row of its target."""
        self._common(target, model)
        return relevant_row(self.target(target).row, self._columns[self._settings_key(target, model)])

    def _settings_key(self, target: str, model: str) -> tuple[str, str]:
        return target if target in self.config.overrides else "", model

    def _common(self, target: str, model: str) -> dict[str, Any]:
        """Return what the fits of a model, to all targets without overrides, depend on."""
        key = self._settings_key(target, model)
        if key not in self._settings:
            settings = self.config.fit_settings(target, model)
            self._settings[key] = {"settings": settings_digest(settings)}
            self._columns[key] = frozenset(_COLUMN.findall(json.dumps(settings)))
            plugins = {f"{plugin.kind} {plugin.name}": plugin.release for plugin in plugins_of(settings)}
            if plugins:
                self._settings[key]["plugins"] = plugins
        return self._settings[key]

    def derived_settings(self, target: str) -> str:
        """Return a digest of what the derived quantities of a target's fits depend on, besides their samples."""
        own = self.config.for_target(target)
        zero_point = own.image.zero_point
        row = relevant_row(self.target(target).row, frozenset(_COLUMN.findall(json.dumps(zero_point))))
        said = [zero_point, row, self.config.derived.model_dump(mode="json")]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    def seed(self, target: str, model: str) -> int:
        """Return the seed of one fit: another for each, whatever else is in the survey."""
        text = f"{self.config.seed}/{target}/{model}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _missing(value: Any) -> Any:
    """Turn NaN, which a row of a simulation has where there is nothing, into None, as a table on disk gives it."""
    return None if isinstance(value, float) and value != value else value
