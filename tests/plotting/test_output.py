"""Where figures go, and what is in those of autocorrelation times."""

import subprocess
import sys
import types

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from socca.errors import ConfigError, PosteriorError
from socca.plotting import output
from socca.plotting.autocorrelation import draw_autocorrelation
from socca.plotting.output import draw_to, figure_path
from tests.plotting.test_corner import make


def draw(new_figure):
    figure = new_figure((2, 1))
    figure.subplots().plot([1, 2])
    return figure


@pytest.mark.parametrize(
    ("name", "fmt", "found"),
    [
        ("fig", "pdf", "fig.pdf"),
        ("fig", ".png", "fig.png"),
        ("fig.png", "pdf", "fig.png"),
        ("a.b/fig", "svg", "a.b/fig.svg"),
    ],
)
def test_a_name_without_an_ending_gets_one(tmp_path, name, fmt, found):
    assert figure_path(tmp_path / name, fmt) == tmp_path / found
    assert draw_to(tmp_path / name, fmt, 50, draw) == tmp_path / found
    assert (tmp_path / found).stat().st_size > 500


@pytest.mark.parametrize("name", ["fig.xyz", "fig.v2"])
def test_an_unknown_ending_names_the_file_and_the_known_ones(tmp_path, name):
    ending = name.partition(".")[2]
    with pytest.raises(
        ConfigError, match=rf"{name}: there is no format '{ending}'; write one of .*\.pdf, .*\.png"
    ) as caught:
        draw_to(tmp_path / name, "pdf", 50, draw)
    assert str(caught.value).startswith(str(tmp_path / name))
    with pytest.raises(ConfigError, match="no format 'pfd'"):
        draw_to(tmp_path / "fig", "pfd", 50, draw)
    assert list(tmp_path.iterdir()) == []


def test_without_a_name_a_figure_is_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.extend(plt.get_fignums()))
    assert draw_to(None, "pdf", 50, draw) is None
    assert len(shown) == 1
    plt.close("all")


def test_a_notebook_gets_the_figure(monkeypatch):
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("shown twice"))
    assert output.in_notebook()
    found = draw_to(None, "pdf", 50, draw)
    assert isinstance(found, Figure)
    assert plt.get_fignums() == []
    # IPython in a terminal is no notebook.
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=object))
    assert not output.in_notebook()


def test_writing_a_figure_needs_no_window(tmp_path):
    """pyplot, which looks for a display, is not even loaded."""
    code = (
        "import sys\nfrom socca.plotting.output import draw_to\n"
        "def draw(new): figure = new((2, 1)); figure.subplots(); return figure\n"
        f"draw_to({str(tmp_path / 'fig')!r}, 'pdf', 50, draw)\nprint('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# corner


@pytest.fixture
def drawn(monkeypatch):
    figures = []
    monkeypatch.setattr(output, "save_figure", lambda figure, path, dpi: figures.append(figure))
    return figures


def limits(figure, n):
    return [np.array(figure.axes).reshape(n, n)[k, k].get_xlim() for k in range(n)]


def test_components_edges_sigma_and_quantiles(drawn):
    posterior = make(2)
    for component in (0, "galaxy", "comp_00", ["galaxy"], [0, "noise"], types.SimpleNamespace(id="comp_00")):
        posterior.plot.corner("c", component, parameters=["galaxy.re", "galaxy.p0"])
        assert len(drawn.pop().axes) == 4
    edges = {"galaxy.re": (1 / 3600, 3 / 3600)}
    posterior.plot.corner("c", None, "pdf", 10.0, edges, parameters=["galaxy.re", "galaxy.p0"])
    (low, high), wide = limits(drawn[0], 2)
    assert (low, high) == pytest.approx((1, 3))
    assert 5.5 < wide[1] - wide[0] < 8  # nearly all of a standard normal number
    posterior.plot.corner("c", sigma=1.5, quantiles=[0.1], bins=10, parameters=["galaxy.re", "galaxy.p0"])
    narrow = limits(drawn[1], 2)[1]
    assert 3.0 < narrow[1] - narrow[0] < 4.0
    lines = np.array(drawn[1].axes).reshape(2, 2)[1, 1].lines
    weights, values = posterior.weights, posterior.samples[:, posterior.labels.index("galaxy.p0")]
    place = values[np.argsort(values)][np.searchsorted(np.cumsum(weights[np.argsort(values)]), 0.1)]
    assert any(line.get_xdata()[0] == pytest.approx(place, abs=0.02) for line in lines)
    posterior.plot.corner("c", edges=[(1 / 3600, 2 / 3600), (-1, 1)], parameters=["galaxy.re", "galaxy.p0"])
    assert limits(drawn[2], 2)[1] == pytest.approx((-1, 1))


def test_arguments_of_corner(drawn):
    posterior = make()
    names = ["galaxy.re", "galaxy.Ie"]
    posterior.plot.corner(
        "c", parameters=names, truths=[1.6 / 3600, None], labels=["radius", "height"], show_titles=False
    )
    panels = np.array(drawn[0].axes).reshape(2, 2)
    assert panels[1, 1].get_xlabel() == "height"
    assert [panels[k, k].get_title() for k in range(2)] == ["", ""]
    assert any(line.get_xdata()[0] == pytest.approx(1.6) for line in panels[0, 0].lines)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"colour": "red"}, r"unknown option 'colour'; did you mean 'color'\? known: color"),
        ({"range": [(0, 1)]}, "range is set by socca: write edges="),
        ({"component": "bulge"}, "no free parameter is of component 'bulge'; known: .*comp_00, galaxy, noise"),
        ({"component": 7}, "of component 'comp_07'"),
        ({"component": "galaxy", "parameters": ["noise.background"]}, "none of the parameters"),
        ({"edges": [(0, 1)]}, "edges: expected 6 values, one for each parameter, got 1"),
        ({"truths": {"galaxy.Re": 1}}, "did you mean 'galaxy.re'"),
    ],
)
def test_corners_that_cannot_be(drawn, options, said):
    with pytest.raises(ValueError, match=said):
        make().plot.corner("c.png", **options)
    assert drawn == []


# autocorrelation


def test_what_a_figure_of_autocorrelation_shows():
    looks = np.array([[100, np.inf, 3], [200, 12, 4], [300, 10, 6]])
    figure = draw_autocorrelation(
        looks, ["a", "b"], lambda size: Figure(size), size=(5, 5), tau_factor=20, show_params=True
    )
    (axes,) = figure.axes
    lines = {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axes.lines}
    assert lines == {
        "a": ([200, 300], [12, 10]),
        "b": ([200, 300], [4, 6]),
        "mean": ([200, 300], [8, 8]),
        "largest": ([200, 300], [12, 10]),
        "steps / 20": ([200, 300], [10, 15]),
    }
    with pytest.raises(PosteriorError, match="too short"):
        draw_autocorrelation(looks[:1], ["a", "b"], lambda size: Figure(size), size=(5, 5))
