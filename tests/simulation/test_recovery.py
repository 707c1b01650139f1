"""Recovery: pulls, ranks and coverage of posteriors whose law is known."""

import math

import matplotlib.image
import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import kstest, norm

from socca.errors import ConfigError
from socca.posterior import Posterior
from socca.posterior.record import Failure, FitRecord
from socca.posterior.storage import save_failure
from socca.simulation.recovery import format_summary, recovery_figure, recovery_summary, recovery_table
from socca.utils.statistics import INTERVAL

LABELS = ["galaxy.xc", "galaxy.re", "galaxy.theta"]
UNITS = ["deg", "deg", "rad"]


def gaussian(means, sigmas, n=501, periods=(None, None, math.pi)):
    """Make a posterior of Gaussians, on quantiles of the law that are weighted to prove that weights count."""
    z = np.linspace(-5, 5, n)
    weights = np.exp(-0.5 * z**2)
    weights /= weights.sum()
    samples = np.stack([m + s * z for m, s in zip(means, sigmas, strict=True)], axis=1)
    for k, period in enumerate(periods):
        if period is not None:
            samples[:, k] %= period
    return Posterior(
        names=[f"comp_00_{label.split('.')[1]}" for label in LABELS],
        labels=LABELS,
        units=UNITS,
        samples=samples,
        log_weights=np.log(weights),
        log_likelihood=np.log(weights),
        log_prior=np.zeros(n),
        logz=0.0,
        logz_err=0.1,
        periods=list(periods),
        derived={"other.re": samples[:, 1]},
        derived_units={"other.re": "deg"},
    )


def truths(values, target="t", model="m", units=UNITS):
    rows = [(target, model, label, v, u) for label, v, u in zip(LABELS, values, units, strict=True)]
    return Table(rows=rows, names=("target", "model", "parameter", "value", "unit"))


@pytest.fixture
def one(tmp_path):
    """Give a function that compares one posterior with truths."""

    def compare(posterior, truth):
        posterior.save(tmp_path / "p.h5")
        return recovery_table(truth, [("t", "m", tmp_path / "p.h5")])

    return compare


def test_closed_form(one):
    table = one(gaussian([10.0, 2.0, 1.5], [0.1, 0.4, 0.2]), truths([10.05, 1.4, 1.5]))
    assert list(table["parameter"]) == LABELS
    assert list(table["unit"]) == UNITS
    z = np.array([0.5, -1.5, 0.0])
    assert np.allclose(table["pull"], z, atol=1e-3)
    assert np.allclose(table["rank"], norm.cdf(z), atol=2e-3)
    assert list(table["inside_68"]) == [True, False, True]
    assert np.allclose(table["mean"], [10, 2, 1.5])
    assert np.allclose(table["upper"] - table["lower"], 2 * np.array([0.1, 0.4, 0.2]), rtol=1e-3)
    assert table.meta == {"compared": 1, "failed": 0, "missing": 0, "without_truth": 0}


@pytest.mark.parametrize("turns", [-2, -1, 0, 1])
@pytest.mark.parametrize("mean", [0.02, math.pi - 0.02, 1.5])
def test_angles_wrap(one, mean, turns):
    table = one(gaussian([10.0, 2.0, mean], [0.1] * 3), truths([10.0, 2.0, mean + 0.15 + turns * math.pi]))
    row = table[2]
    assert row["pull"] == pytest.approx(1.5, abs=1e-3)
    assert row["rank"] == pytest.approx(norm.cdf(1.5), abs=2e-3)
    assert row["truth"] - row["mean"] == pytest.approx(0.15)
    assert not row["inside_68"]


@pytest.mark.parametrize(("mean", "truth"), [(359.99995, -0.00004), (-0.00005, 359.99996), (0.00001, 0.00002)])
def test_right_ascension_on_either_side_of_zero(one, mean, truth):
    posterior = gaussian([mean, 2.0, 1.5], [1e-5] * 3, periods=(360.0, None, math.pi))
    assert one(posterior, truths([truth, 2.0, 1.5]))["pull"][0] == pytest.approx(1, abs=1e-3)


def test_units_of_the_truth(one):
    posterior = gaussian([10.0, 2.0, 1.5], [0.1] * 3)
    table = one(posterior, truths([36000.0, 2.0, math.degrees(1.5)], units=["arcsec", "deg", "deg"]))
    assert np.allclose(table["pull"], 0, atol=1e-6)
    with pytest.raises(ConfigError, match="unknown unit 'parsec'"):
        one(posterior, truths([1.0, 2.0, 1.5], units=["parsec", "deg", "rad"]))


def test_a_posterior_of_one_point_has_no_pull(one):
    table = one(gaussian([10.0, 2.0, 1.5], [0.1, 0.0, 0.2]), truths([10.0, 2.5, 1.5]))
    assert np.isnan(table["pull"][1])
    assert recovery_summary(table)["n"][-1] == 2


def test_truths_drawn_from_the_posteriors_are_recovered(tmp_path):
    rng, number = np.random.default_rng(11), 100
    means = np.stack([rng.uniform(1, 9, number), rng.uniform(1, 2, number), rng.uniform(0, math.pi, number)], axis=1)
    sigmas = rng.uniform(0.05, 0.2, means.shape)
    truth, results = [], []
    for k in range(number):
        gaussian(means[k], sigmas[k]).save(tmp_path / f"{k}.h5")
        drawn = means[k] + sigmas[k] * rng.standard_normal(3)
        drawn[2] %= math.pi
        truth += [(f"t{k}", "m", label, v, u) for label, v, u in zip(LABELS, drawn, UNITS, strict=True)]
        results.append((f"t{k}", "m", tmp_path / f"{k}.h5"))
    table = recovery_table(Table(rows=truth, names=("target", "model", "parameter", "value", "unit")), results)
    assert len(table) == 3 * number
    assert kstest(table["rank"], "uniform").pvalue > 1e-3
    summary = recovery_summary(table)
    assert list(summary["parameter"]) == [*LABELS, "all"]
    assert list(summary["n"]) == [number] * 3 + [3 * number]
    for what, expected in (("mean_pull", 0), ("std_pull", 1), ("coverage_68", INTERVAL)):
        assert np.all(np.abs(summary[what] - expected) < 3.5 * summary[what + "_err"]), what
    assert summary["mean_pull_err"][0] == pytest.approx(number**-0.5)
    assert summary["coverage_68_err"][0] == pytest.approx(math.sqrt(0.6827 * 0.3173 / number), rel=1e-3)
    # Uncertainties half as large as claimed are noticed.
    table["pull"] *= 2
    assert np.all(recovery_summary(table)["std_pull"] > 1.5)


def test_what_cannot_be_compared_is_counted(tmp_path):
    gaussian([10.0, 2.0, 1.5], [0.1] * 3).save(tmp_path / "good.h5")
    save_failure(tmp_path / "failed.h5", FitRecord(failure=Failure("no PSF")))
    (tmp_path / "damaged.h5").write_bytes((tmp_path / "good.h5").read_bytes()[:2000])
    results = [("t", "m", tmp_path / f"{name}.h5") for name in ("good", "failed", "damaged", "absent")]
    table = recovery_table(truths([10.0, 2.0, 1.5]), [*results, ("t", "other", tmp_path / "good.h5")])
    assert len(table) == 3
    assert table.meta == {"compared": 1, "failed": 2, "missing": 1, "without_truth": 1}
    text = format_summary(recovery_summary(table))
    assert text.endswith("fits: 1 compared, 2 failed, 1 missing, 1 without truth")
    table.write(tmp_path / "r.ecsv")
    back = Table.read(tmp_path / "r.ecsv")
    assert back.meta == table.meta
    assert back["inside_68"].dtype == bool


def test_text_of_a_summary(one):
    table = one(gaussian([10.0, 2.0, 1.5], [0.1, 0.4, 0.2]), truths([10.05, 1.4, 1.5]))
    lines = format_summary(recovery_summary(table)).splitlines()
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[2].split() == ["galaxy.xc", "1", "+0.50", "±", "1.00", "-", "100", "±", "47", "%"]
    assert lines[-2].split()[:2] == ["all", "3"]
    empty = format_summary(recovery_summary(table[:0]))
    assert empty.splitlines()[2].split() == ["all", "0", "-", "-", "-"]


def test_figure(tmp_path):
    rng = np.random.default_rng(2)
    pull = rng.standard_normal(120)
    names = np.tile(["galaxy.re", "galaxy.ns", "sky.a0"], 40)
    table = Table({"parameter": names, "pull": pull, "rank": norm.cdf(pull)})
    recovery_figure(table, tmp_path / "good.png")
    good = matplotlib.image.imread(tmp_path / "good.png")
    assert good.shape == (480, 1500, 4)
    # Each third has something drawn in colour.
    saturation = good[..., :3].max(-1) - good[..., :3].min(-1)
    assert all(np.mean(third > 0.2) > 0.003 for third in np.array_split(saturation, 3, axis=1))
    # Ranks that are all below one half leave the diagonal; the figure shows it.
    table["rank"] /= 2
    recovery_figure(table, tmp_path / "bad.png")
    bad = matplotlib.image.imread(tmp_path / "bad.png")
    changed = np.abs(good - bad).max(-1) > 0.1
    assert changed[:, 1000:].any()
    assert not changed[:, :950].any()
    recovery_figure(table[:0], tmp_path / "none.png")
    assert np.mean(matplotlib.image.imread(tmp_path / "none.png")[..., 0] < 0.5) > 1e-4
