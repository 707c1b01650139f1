"""Recovery of the true parameters of simulated targets: pulls, ranks and coverage."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from socca.errors import PosteriorError
from socca.parameters.units import factor
from socca.plotting.comparison import COLOURS, DATA, MODEL
from socca.plotting.output import save_figure
from socca.posterior.posterior import Posterior
from socca.posterior.storage import ResultLocation
from socca.utils.statistics import INTERVAL, unwrapped

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.axes import Axes

__all__ = ["format_summary", "recovery_figure", "recovery_summary", "recovery_table"]

logger = logging.getLogger(__name__)

#: Columns of `recovery_table` and their types.
COLUMNS: dict[str, type] = {
    **dict.fromkeys(("target", "model", "parameter", "unit"), str),
    **dict.fromkeys(("truth", "mean", "std", "median", "lower", "upper", "pull", "rank"), float),
    "inside_68": bool,
}


def recovery_table(truth: Table, results: Iterable[tuple[str, str, Path | ResultLocation]]) -> Table:
    """Compare fits with the truth, parameter by parameter.

    Parameters
    ----------
    truth : astropy.table.Table
        Columns `target`, `model`, `parameter`, `value` and `unit`, as `socca.simulation.simulate` writes them.
    results : iterable of (str, str, Path or ResultLocation)
        Target, model, and the file of its result or its place in one of many.

    Returns
    -------
    astropy.table.Table
        A row for each free parameter of each fit whose truth is known: `target`, `model`, `parameter`, `unit`,
        `truth`, `mean`, `std`, `median`, `lower`, `upper`, `pull` (truth less mean, over std; NaN if std is zero),
        `rank` (the posterior's probability below the truth) and `inside_68`. Its ``meta`` counts the fits: `compared`,
        `failed`, `missing`, and `without_truth`, which is those of a model that the target was not drawn from.
    """
    from astropy.table import Table

    known: dict[tuple[str, str], dict[str, tuple[float, str]]] = {}
    units = truth["unit"] if "unit" in truth.colnames else [None] * len(truth)
    columns = (truth["target"], truth["model"], truth["parameter"], truth["value"], units)
    for target, model, parameter, value, unit in zip(*columns, strict=True):
        values = known.setdefault((str(target), str(model)), {})
        values[str(parameter)] = (float(value), "" if unit is None or np.ma.is_masked(unit) else str(unit))
    rows: list[dict[str, Any]] = []
    counts = dict.fromkeys(("compared", "failed", "missing", "without_truth"), 0)
    for target, model, path in results:
        values = known.get((str(target), str(model)), {})
        if not values:
            counts["without_truth"] += 1
            continue
        place = path if isinstance(path, ResultLocation) else ResultLocation(Path(path))
        if not place.path.exists():
            counts["missing"] += 1
            continue
        try:
            posterior = Posterior.load(*place)
        except (PosteriorError, OSError, RuntimeError, KeyError, ValueError) as error:
            logger.info("%s, %s is left out: %s", target, model, error)
            counts["failed"] += 1
            continue
        counts["compared"] += 1
        rows += [{"target": target, "model": model, **row} for row in _compare(posterior, values)]
    table = Table([[row[name] for row in rows] for name in COLUMNS], names=list(COLUMNS), dtype=list(COLUMNS.values()))
    table.meta.update(counts)
    return table


def _compare(posterior: Posterior, values: dict[str, tuple[float, str]]) -> list[dict[str, Any]]:
    """Return one row for each free parameter whose truth is known."""
    weights, rows = posterior.weights, []
    periods = posterior.periods or [None] * len(posterior.labels)
    summary = posterior.summary()[: len(posterior.labels)]
    for row, samples, period in zip(summary, posterior.samples.T, periods, strict=True):
        label, unit = row["label"], row["unit"]
        if label not in values:
            continue
        truth, given_in = values[label]
        if given_in and given_in != unit:
            truth *= factor(given_in, unit)
        if period is not None:
            samples = unwrapped(samples, weights, period)  # as the summary's mean
            truth += period * round((row["mean"] - truth) / period)
        below = float(np.sum(weights[samples < truth]) + 0.5 * np.sum(weights[samples == truth]))
        rows.append(
            {
                **{"parameter": label, "unit": unit, "truth": truth},
                **{key: row[key] for key in ("mean", "std", "median", "lower", "upper")},
                "pull": (truth - row["mean"]) / row["std"] if row["std"] > 0 else math.nan,
                "rank": min(below / float(np.sum(weights)), 1.0),
                "inside_68": row["lower"] <= truth <= row["upper"],
            }
        )
    return rows


def recovery_summary(table: Table) -> Table:
    """Summarise a comparison with the truth.

    Parameters
    ----------
    table : astropy.table.Table
        From `recovery_table`.

    Returns
    -------
    astropy.table.Table
        One row for each parameter, over all models, and a last one, ``all``: `n`, `mean_pull`, `std_pull` and
        `coverage_68`, each with the standard error that `n` independent, rightly calibrated fits would have
        (`…_err`). The parameters of one fit are not independent, so that of ``all`` is too small.
    """
    from astropy.table import Table

    finite = table[np.isfinite(np.asarray(table["pull"], dtype=float))]
    labels = np.asarray(finite["parameter"], dtype=str)
    rows = []
    for name in [*dict.fromkeys(labels.tolist()), "all"]:
        chosen = finite if name == "all" else finite[labels == name]
        n, pull = len(chosen), np.asarray(chosen["pull"], dtype=float)
        error = 1 / math.sqrt(n) if n else math.nan
        rows.append(
            {
                "parameter": name,
                "n": n,
                "mean_pull": float(pull.mean()) if n else math.nan,
                "mean_pull_err": error,
                "std_pull": float(pull.std(ddof=1)) if n > 1 else math.nan,
                "std_pull_err": 1 / math.sqrt(2 * (n - 1)) if n > 1 else math.nan,
                "coverage_68": float(np.mean(chosen["inside_68"])) if n else math.nan,
                "coverage_68_err": math.sqrt(INTERVAL * (1 - INTERVAL)) * error,
            }
        )
    summary = Table(rows=rows)
    summary.meta.update(table.meta)
    return summary


def format_summary(summary: Table) -> str:
    """Lay out a summary for the terminal.

    Parameters
    ----------
    summary : astropy.table.Table
        From `recovery_summary`.

    Returns
    -------
    str
        Lines of text without a final newline.
    """
    lines = [["parameter", "n", "mean pull", "std of pulls", "within 68 %"]]
    for row in summary:
        cells = [
            f"{row['mean_pull']:+.2f} ± {row['mean_pull_err']:.2f}",
            f"{row['std_pull']:.2f} ± {row['std_pull_err']:.2f}",
            f"{100 * row['coverage_68']:.0f} ± {100 * row['coverage_68_err']:.0f} %",
        ]
        cells = [cell if "nan" not in cell.split(" ")[0] else "-" for cell in cells]
        lines.append([str(row["parameter"]), str(row["n"]), *cells])
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    if len(lines) > 3:
        lines.insert(-1, lines[1])
    text = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    counts = {
        key: summary.meta[key] for key in ("compared", "failed", "missing", "without_truth") if key in summary.meta
    }
    text += ["fits: " + ", ".join(f"{n} {key.replace('_', ' ')}" for key, n in counts.items())] if counts else []
    return "\n".join(text)


def recovery_figure(table: Table, output: str | Path) -> None:
    """Draw how a survey of simulations was recovered: pulls, pulls of each parameter, and ranks.

    Parameters
    ----------
    table : astropy.table.Table
        From `socca.simulation.recovery.recovery_table`.
    output : str or Path
        The figure; its ending says which format.
    """
    from matplotlib.figure import Figure

    pulls = np.asarray(table["pull"], dtype=float)
    finite = np.isfinite(pulls)
    pulls, labels = pulls[finite], np.asarray(table["parameter"], dtype=str)[finite]
    ranks = np.asarray(table["rank"], dtype=float)[finite]
    names = list(dict.fromkeys(labels.tolist()))
    figure = Figure(figsize=(15, max(4.8, 1.5 + 0.27 * len(names))), layout="constrained")
    if not names:
        figure.text(0.5, 0.5, "No fit with a known truth is done.", ha="center", va="center", fontsize=14)
    else:
        left, middle, right = figure.subplots(1, 3)
        _draw_pulls(left, pulls)
        _draw_by_parameter(middle, pulls, labels, names)
        _draw_ranks(right, ranks)
        for axes in (left, middle, right):
            axes.tick_params(labelsize=10)
            axes.set_axisbelow(True)
    save_figure(figure, output)


def _draw_pulls(axes: Axes, pulls: np.ndarray) -> None:
    reach = min(max(4.0, float(np.abs(pulls).max())), 8.0)
    bins = min(max(round(3 * len(pulls) ** (1 / 3)), 8), 40)
    edges = np.linspace(-reach, reach, bins + 1)
    clipped = np.clip(pulls, -reach, reach)  # what lies beyond is counted in the outermost bins
    label = f"{len(pulls)} pulls\nmean {pulls.mean():+.2f}, std {pulls.std():.2f}"
    axes.hist(clipped, edges.tolist(), density=True, color=COLOURS[0], alpha=0.65, edgecolor="white", label=label)
    x = np.linspace(-reach, reach, 300)
    axes.plot(x, np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi), color=DATA, linewidth=2, label="unit Gaussian")
    axes.set_title("pulls: (truth − mean) / σ", fontsize=13)
    axes.set_ylabel("density", fontsize=11)
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    axes.legend(fontsize=10, frameon=False, loc="upper left")


def _draw_by_parameter(axes: Axes, pulls: np.ndarray, labels: np.ndarray, names: list[str]) -> None:
    """Draw each pull, and each parameter's mean and standard deviation."""
    jitter = np.random.default_rng(0).uniform(-0.25, 0.25, len(pulls))
    place = np.array([names.index(label) for label in labels])
    axes.axvspan(-1, 1, color="0.92", zorder=0)
    axes.axvline(0, color="0.6", linewidth=1, zorder=1)
    axes.scatter(np.clip(pulls, -6, 6), place + jitter, s=9, color=COLOURS[0], alpha=0.45, linewidths=0, zorder=2)
    means = np.array([pulls[place == k].mean() for k in range(len(names))])
    stds = np.array([pulls[place == k].std() for k in range(len(names))])
    style: dict[str, Any] = {"fmt": "D", "color": MODEL, "markersize": 5, "elinewidth": 2}
    axes.errorbar(means, np.arange(len(names)), xerr=stds, label="mean and std", zorder=3, **style)
    reach = min(max(3.5, 1.1 * float(np.abs(pulls).max())), 6.4)
    axes.set_xlim(-reach, reach)
    axes.set_yticks(np.arange(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_title("pulls by parameter", fontsize=13)
    axes.legend(fontsize=10, frameon=False, loc="lower right")


def _draw_ranks(axes: Axes, ranks: np.ndarray) -> None:
    """Draw the share of ranks below p against p, with the band that holds 95 % of right ones at each p."""
    from scipy.stats import binom

    n, p = len(ranks), np.linspace(0, 1, 201)
    low, high = (binom.ppf(q, n, p) / n for q in (0.025, 0.975))
    axes.fill_between(p, np.nan_to_num(low), high, color="0.88", label="95 % band")
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle="--")
    ordered = np.sort(ranks)
    steps = np.concatenate([[0], np.arange(1, n + 1) / n, [1]])
    axes.step(np.concatenate([[0], ordered, [1]]), steps, where="post", color=COLOURS[0], linewidth=2, label="ranks")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xlabel("posterior probability below the truth", fontsize=11)
    axes.set_ylabel("share of parameters", fontsize=11)
    axes.set_title("P–P plot of ranks", fontsize=13)
    axes.legend(fontsize=10, frameon=False, loc="upper left")
