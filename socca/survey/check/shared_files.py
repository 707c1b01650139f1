"""Input files of a survey, each read once though several targets share it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from socca.survey.check.findings import listening
from socca.survey.config.build_image import read_file

if TYPE_CHECKING:
    from socca.data.fits import Plane
    from socca.data.hdus import HduIndex
    from socca.data.region_files import RegionFile
    from socca.survey.config.schema import Config
    from socca.survey.survey import Survey
    from socca.survey.targets import Target


@dataclass
class ReadFile:
    """A file as it was read.

    Parameters
    ----------
    content : Plane or RegionFile, optional
        What is in it; None if it cannot be read.
    error : Exception, optional
        Why not.
    warnings : list of str
        What was said when it was read.
    """

    content: Plane | RegionFile | None = None
    error: Exception | None = None
    warnings: list[str] = field(default_factory=list)


class SharedFiles:
    """Reads files, and keeps those that other targets will ask for, until the last one has.

    Parameters
    ----------
    survey : Survey
        Whose targets will each ask for their files once.
    """

    def __init__(self, survey: Survey) -> None:
        self._left = Counter((kind, path) for target in survey.targets.values() for kind, path in target.files.items())
        self._kept: dict[tuple[str, Path, str, HduIndex | None], ReadFile] = {}

    def read(self, kind: str, target: Target, config: Config, image: Plane | RegionFile | None = None) -> ReadFile:
        """Return what is in one of a target's files.

        Parameters
        ----------
        kind : str
            What it is to the target, such as ``psf``.
        target : Target
            The row of the table.
        config : Config
            The target's.
        image : Plane, optional
            The target's image, read before: of maps and masks of its whole, only the part that is fitted is read.

        Returns
        -------
        ReadFile
            Never raises for what is wrong with the file.
        """
        path = target.files[kind]
        # Overrides may choose another HDU.
        key = (kind, path, "" if target.name not in config.overrides else target.name, target.hdus.get(kind))
        self._left[kind, path] -= 1
        found = self._kept.pop(key, None) or self._read(kind, target, config, image)
        # Of what is cut out, each target has a part of its own.
        whole = config.image.cutout is None or kind in ("psf", "regions")
        if self._left[kind, path] > 0 and whole:
            self._kept[key] = found
        return found

    @staticmethod
    def _read(kind: str, target: Target, config: Config, image: Plane | RegionFile | None) -> ReadFile:
        from socca.data.region_files import RegionFile

        found = ReadFile()
        with listening() as found.warnings:
            try:
                found.content = read_file(kind, target, config, image)
                if isinstance(found.content, RegionFile):
                    found.content.regions(physical=True)
            except Exception as error:  # one bad file must not hide what is wrong with the others
                found.content, found.error = None, error
        return found
