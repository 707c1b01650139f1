"""Where a figure goes: to a file, to a window, or to the cell of a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socca.errors import ConfigError
from socca.utils.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: From the size of a figure to the figure.
NewFigure = Callable[[tuple[float, float]], "Figure"]


def save_figure(figure: Figure, output: str | Path, dpi: float = 100) -> None:
    """Write a figure, whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    output : str or Path
        The file; its ending says which format.
    dpi : float
        Dots per inch.

    Raises
    ------
    ConfigError
        If matplotlib does not know the format.
    """
    ending = Path(output).suffix.removeprefix(".")
    known = figure.canvas.get_supported_filetypes()
    if ending.lower() not in known:
        got = f"no format {ending!r}" if ending else "no format without an ending"
        raise ConfigError(f"{output}: there is {got}; write one of .{', .'.join(sorted(known))}")
    with atomic_path(output) as temporary:
        figure.savefig(temporary, dpi=dpi, facecolor="white")


def figure_path(name: str | Path, fmt: str) -> Path:
    """Return the path of a figure: a name without an ending gets that of the format.

    Parameters
    ----------
    name : str or Path
        The file.
    fmt : str
        Such as ``pdf``, with or without a dot.

    Returns
    -------
    Path
        The file.
    """
    path = Path(name)
    return path if path.suffix else path.with_name(f"{path.name}.{fmt.removeprefix('.')}")


def draw_to(name: str | Path | None, fmt: str, dpi: float, draw: Callable[[NewFigure], Figure]) -> Path | Figure | None:
    """Draw a figure, and write or show it.

    Parameters
    ----------
    name : str, Path or None
        The file; without an ending, that of `fmt` is added. None: the figure is shown.
    fmt : str
        Format of a file whose name has no ending.
    dpi : float
        Dots per inch, of a file.
    draw : callable
        Makes the figure by the function that it is given, and returns it.

    Returns
    -------
    Path, Figure or None
        The file; or in a notebook, which shows it, the figure; or None once it has been shown in a window.

    Raises
    ------
    ConfigError
        If matplotlib does not know the format.
    """
    if name is not None:
        from matplotlib.figure import Figure

        path = figure_path(name, fmt)
        save_figure(draw(lambda size: Figure(figsize=size)), path, dpi)
        return path
    import matplotlib.pyplot as plt

    figure = draw(lambda size: plt.figure(figsize=size))
    if in_notebook():
        plt.close(figure)  # or the notebook would show it twice
        return figure
    plt.show()
    return None


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")
