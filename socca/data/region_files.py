"""Region files of DS9 and CRTF."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from socca.errors import DataError
from socca.utils.files import is_file

#: Endings of region files.
REGION_FILES = (".reg", ".ds9", ".crtf")
#: What is in a region file, whatever its name.
_REGION_TEXT = re.compile(
    rb"\A\s*(#CRTF|# Region file format)|(^|;)[ \t]*[-+]?(circle|ellipse|box|annulus|polygon)\s*\(",
    re.IGNORECASE | re.MULTILINE,
)
#: How much of a file says what it is, bytes.
HEAD = 4096
#: What may be left out of a DS9 file without a loss: decorations, and marks that cover no pixel.
_HARMLESS = (
    r"Found duplicate metadata",
    r'DS9 ".*" is invalid and will be ignored',
    r'"(vector|ruler|compass|projection)" frame or shape is not supported',
)


def begins_like_regions(head: bytes) -> bool:
    """Tell whether a file that begins like this is a DS9 or CRTF region file."""
    return not head.startswith((b"SIMPLE", b"\x1f\x8b")) and _REGION_TEXT.search(head) is not None


@dataclass(frozen=True)
class RegionFile:
    """A region file as it was read; what takes its path takes it too.

    Parameters
    ----------
    path : Path
        Where it was, for messages.
    content : bytes
        What is in it. It is parsed once it is known what it is laid on.
    """

    path: Path
    content: bytes

    @classmethod
    def read(cls, path: str | Path) -> RegionFile:
        """Read a region file; `DataError` if that cannot be done."""
        path = Path(path)
        if not is_file(path):
            raise DataError(f"regions: no such file: {path}")
        try:
            return cls(path, path.read_bytes())
        except OSError as error:
            raise DataError(f"regions: cannot read {path}: {error}") from error

    @property
    def recognised(self) -> bool:
        """Whether it is a DS9 or CRTF region file: by its ending, or by how it begins."""
        return self.path.suffix.lower() in REGION_FILES or begins_like_regions(self.content[:HEAD])

    def regions(self, *, physical: bool = False) -> list[Any]:
        """Return its regions.

        Parameters
        ----------
        physical : bool
            Take DS9's physical coordinates for those of the image: right where the image's header does not say
            otherwise.

        Returns
        -------
        list of regions.Region
            In the order of the file.

        Raises
        ------
        DataError
            If any region cannot be read: one that is skipped would leave pixels unmasked.
        """
        from astropy.utils.exceptions import AstropyUserWarning
        from regions import Regions

        with warnings.catch_warnings():
            # What the parser cannot read it skips with a warning.
            warnings.filterwarnings("error", category=AstropyUserWarning)
            for message in _HARMLESS:
                warnings.filterwarnings("ignore", message=message, category=AstropyUserWarning)
            try:
                # Any end of a line, as where a text file is opened.
                text = io.TextIOWrapper(io.BytesIO(self.content), encoding="utf-8").read()
                first, _, rest = text.partition("\n")
                if first.startswith("#CRTF"):
                    return list(Regions.parse(rest, format="crtf"))
                if self.path.suffix.lower() == ".crtf":
                    raise DataError("a CRTF file begins with #CRTF")
                if physical:
                    text = re.sub(r"(?im)(^|;)([ \t]*)physical\b", r"\1\2image", text)
                return list(Regions.parse(text, format="ds9"))
            except Exception as error:  # the parsers raise many kinds
                reason = re.sub(r",? skipping\.?$", "", str(error)) or type(error).__name__
                raise DataError(f"regions: cannot read {self.path}: {reason}") from error
