"""Figures of posteriors: what they say, and that nothing lies over anything else."""

import itertools
import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from socca.errors import ConfigError, PosteriorError
from socca.plotting import output
from socca.plotting.corner import axes_of, interval_of
from socca.posterior import Posterior
from socca.posterior.record import FitRecord, ImageDescription

N = 3000


def make(n_extra=0):
    """Return a posterior of a position on the sky, an angle across its period's end, and more."""
    rng = np.random.default_rng(3)
    columns = {
        "galaxy.xc": ("deg", 150.1234567 + 2e-6 * rng.normal(size=N)),
        "galaxy.re": ("deg", (1.7 + 0.1 * rng.normal(size=N)) / 3600),
        "galaxy.theta": ("rad", (0.02 + 0.05 * rng.normal(size=N)) % math.pi),
        "galaxy.Ie": ("image", np.exp(rng.normal(size=N)) * 3e-9),
        "noise.background": ("image", 2 + 0.1 * rng.normal(size=N)),
        "a_component_of_a_long_name.Ie": ("image", 100 + rng.normal(size=N)),
        **{f"galaxy.p{k}": ("", rng.normal(size=N)) for k in range(n_extra)},
    }
    log_weights = 0.5 * rng.normal(size=N)
    return Posterior(
        names=[f"comp_00_{label.split('.')[1]}" for label in columns],
        labels=list(columns),
        units=[unit for unit, _ in columns.values()],
        samples=np.stack([values for _, values in columns.values()], axis=1),
        log_weights=log_weights - np.logaddexp.reduce(log_weights),
        log_likelihood=-rng.gamma(2, size=N),
        log_prior=np.zeros(N),
        logz=0.0,
        logz_err=0.1,
        periods=[math.pi if unit == "rad" else None for unit, _ in columns.values()],
        derived={"bulge.re": columns["galaxy.re"][1] / 2},
        derived_units={"bulge.re": "deg"},
        record=FitRecord(image=ImageDescription(bunit="nJy")),
    )


@pytest.fixture
def drawn(monkeypatch):
    """Keep the figures that are saved, drawn."""
    figures = []

    def keep(figure, output, dpi):
        FigureCanvasAgg(figure).draw()
        figures.append(figure)

    monkeypatch.setattr(output, "save_figure", keep)
    return figures


def texts(figure):
    """Return what is written in a figure, and the box of each."""
    found = []
    for axes in figure.axes:
        if axes.axison:
            parts = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
            low, high = axes.get_xlim()
            parts += [tick.label1 for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
            low, high = axes.get_ylim()
            parts += [tick.label1 for tick in axes.yaxis.get_major_ticks() if low <= tick.get_loc() <= high]
            found += [part for part in parts if part.get_text() and part.get_visible()]
    return [(part.get_text(), part.get_window_extent()) for part in found]


def check_layout(figure):
    written = texts(figure)
    assert len(written) > 10
    page = figure.bbox
    for text, box in written:
        assert page.x0 + 5 <= box.x0 <= box.x1 <= page.x1, text
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, text
    upright = [(text, box) for text, box in written if box.width > 0]
    for (one, a), (other, b) in itertools.combinations(upright, 2):
        over = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        # The boxes of slanted ticks are wider than what is written in them.
        assert min(over) < 8, f"{one!r} and {other!r} overlap by {over} dots"


def test_axes_in_units_that_read_well():
    posterior = make()
    axes = axes_of(posterior, ["galaxy.xc", "comp_00_theta", "galaxy.Ie", "bulge.re"])
    assert [axis.label for axis in axes.values()] == [
        "Δ galaxy.xc [arcsec]", "galaxy.theta [deg]", "galaxy.Ie [nJy]", "bulge.re [arcsec]",
    ]  # fmt: skip
    position, angle, _, radius = axes.values()
    assert position.origin.startswith("150.12345")
    assert position.origin.endswith(" deg")
    zero = float(position.origin.split()[0])
    np.testing.assert_allclose(position.values, (posterior.samples[:, 0] - zero) * 3600, atol=1e-12)
    assert abs(position.shown(150.1234567)) < 0.01
    # Across the end of the period: both sides of 0 or of 180 degrees, and a truth goes to its samples.
    assert np.ptp(angle.values) < 30
    middle = np.median(angle.values)
    assert abs((middle - 1.15 + 90) % 180 - 90) < 0.5
    for turns in (-1, 0, 1):
        assert angle.shown(0.02 + turns * math.pi) == pytest.approx(middle, abs=0.5)
    assert radius.values == pytest.approx(posterior.derived["bulge.re"] * 3600)
    with pytest.raises(PosteriorError, match=r"galaxy\.re"):
        axes_of(posterior, ["galaxy.r"])


@pytest.mark.parametrize(("n_extra", "bunit"), [(0, "nJy"), (2, "")])
def test_corner(drawn, n_extra, bunit):
    posterior = make(n_extra)
    posterior.record = FitRecord(image=ImageDescription(bunit=bunit))
    path = posterior.plot.corner("corner.png", truths={"galaxy.theta": 0.02, "comp_00_re": 1.6 / 3600})
    assert path.name == "corner.png"
    figure = drawn[0]
    n = 6 + n_extra
    panels = np.array(figure.axes).reshape(n, n)
    check_layout(figure)
    assert not any(panel.axison for panel in panels[np.triu_indices(n, 1)])
    assert panels[n - 1, 1].get_xlabel() == "galaxy.re [arcsec]"
    assert f"{posterior.summary()[1]['median'] * 3600:.3f}" in panels[1, 1].get_title()
    assert "10^{-9}" in panels[3, 3].get_title()
    # The truth is a line at 1.6 arcsec, and within the panel.
    lines = [line.get_xdata()[0] for line in panels[1, 1].lines]
    assert any(x == pytest.approx(1.6) for x in lines)
    low, high = panels[2, 2].get_xlim()
    assert any(low < line.get_xdata()[0] < high for line in panels[2, 2].lines)


def test_trace(drawn):
    posterior = make()
    posterior.plot.trace("trace.png", parameters=["galaxy.xc", "galaxy.theta"])
    check_layout(drawn[0])
    panels = drawn[0].axes
    assert [panel.get_ylabel() for panel in panels[:2]] == ["ln L", "weight\n/ largest"]
    assert panels[2].get_ylabel() == "Δ galaxy.xc\n[arcsec]"
    shown = panels[0].collections[0].get_offsets()
    np.testing.assert_allclose(shown[:, 1], posterior.log_likelihood)
    dots = sum(len(collection.get_offsets()) for collection in panels[3].collections)
    assert dots == N


def test_mistakes(tmp_path):
    posterior = make()
    with pytest.raises(PosteriorError, match=r"truths: no parameter 'galaxy\.Re' is drawn; did you mean 'galaxy\.re'"):
        posterior.plot.corner(tmp_path / "c.png", truths={"galaxy.Re": 1})
    with pytest.raises(PosteriorError, match="no free parameter"):
        posterior.plot.corner(tmp_path / "c.png", parameters=[])
    with pytest.raises(ConfigError, match="xyz"):
        posterior.plot.trace(tmp_path / "c.xyz", parameters=["galaxy.re"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((1.55, 1.7, 1.83), "$1.70^{+0.13}_{-0.15}$"),
        ((-0.012, -0.0001, 0.012), "$0.000^{+0.012}_{-0.012}$"),
        ((120.0, 150.0, 200.0), "$150^{+50}_{-30}$"),
        ((2.0, 2.0, 2.0), "2"),
        ((1.0e-9, 1.5e-9, 2.5e-9), "($1.50^{+1.00}_{-0.50}$)$\\times10^{-9}$"),
    ],
)
def test_interval(numbers, text):
    assert interval_of(*numbers) == text
