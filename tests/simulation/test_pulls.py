"""The benchmark of pulls: its galaxies, and what it makes of posteriors that are right or wrong."""

import json
import math
import sys

import numpy as np
import pytest

from benchmarks import calibration, galaxies, pulls
from tests import truth


def test_galaxies_are_drawn_as_they_should_be():
    values = {"xc": 1.3, "yc": -0.6, "theta": 0.7, "e": 0.6, "re": 2.5, "Ie": 3.0, "ns": 2.0}
    found = galaxies.sersic(values, pulls.PSF, 40)
    law = {name: value for name, value in values.items() if name not in ("xc", "yc")}
    # East is to the left.
    expected = truth.image("Sersic", law, (-1.3, -0.6), truth.Psf.moffat(3.5, 3.5), (40, 40))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.max())


@pytest.mark.parametrize("psf", ["star", "optics", "fine"])
def test_psfs_hold_the_pixel_or_not(psf):
    drawn, given = pulls.PSFS[psf]
    found = galaxies.star(pulls.PSF, pulls.STAMP, **drawn)
    oversample, side = given.get("oversample", 1), 0.0 if psf == "optics" else 1.0
    assert found.shape == (pulls.STAMP * oversample, pulls.STAMP * oversample)
    expected = truth.Psf.moffat(3.5, 3.5).array(found.shape, oversample, side)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.max())
    assert found.sum() == pytest.approx(1, abs=3e-4)


def test_drawn_galaxies_have_the_wanted_signal_to_noise_ratio():
    problem = pulls.problem_of(np.zeros((pulls.SIZE, pulls.SIZE)))
    drawn = [pulls.draw(problem, np.random.default_rng([3, k])) for k in range(20)]
    ratios = [ratio for _, _, ratio in drawn]
    assert min(ratios) >= 15
    assert max(ratios) <= 300
    assert min(ratios) < 60 < max(ratios), "one end of the range is missing"
    for values, light, ratio in drawn:
        assert math.sqrt(np.sum(light**2)) == pytest.approx(ratio)
        assert abs(values["xc"]) <= 2
        assert 2 <= values["re"] <= 8
        assert 0.6 <= values["ns"] <= 5
        assert set(values) == {"xc", "yc", "theta", "e", "re", "Ie", "ns"}


def test_an_angle_is_compared_the_short_way_round():
    samples = np.array([0.05, 3.12, 0.02, 3.10, 0.0])
    found = pulls.compared(samples, np.full(5, 0.2), 3.13, math.pi)
    assert abs(found["pull"]) < 1
    assert found["inside"]
    assert found["truth"] == pytest.approx(3.13 - math.pi) or found["truth"] == pytest.approx(3.13)


def test_the_sign_of_all_pulls_is_that_of_the_fit_less_the_truth():
    samples = np.random.default_rng(2).normal(1.0, 0.5, 2000)
    found = pulls.compared(samples, np.full(2000, 1 / 2000), 0.25, None)
    for key in ("pull", "median_pull", "score"):
        assert found[key] == pytest.approx(1.5, abs=0.15)  # of 2000 draws
    assert not found["inside"]
    beyond = pulls.compared(samples, np.full(2000, 1 / 2000), -9.0, None)
    assert beyond["score"] == pytest.approx(3.48, abs=0.01), "of a truth beyond 2000 draws: 1 in 4000"


def fits(scale, shift, number=400):
    """Make fits of a normal parameter whose stated error is `scale` times the true one, and which are off."""
    rng, found = np.random.default_rng(7), []
    for _ in range(number):
        center = rng.normal()
        samples = center + shift + scale * rng.normal(size=500)
        found.append({"parameters": {"p": pulls.compared(samples, np.full(500, 1 / 500), center + rng.normal(), None)}})
    return found


def test_the_table_tells_right_errors_from_wrong_ones():
    def columns(found):
        cells = [cell.strip() for cell in pulls.table(found).splitlines()[2].strip("|").split("|")]
        assert cells.pop(0) == "p"
        return [float(cell.split("±")[0].rstrip("% ")) for cell in cells]

    # Four standard errors: 400 fits give 0.05 of a mean, 0.035 of a deviation, 2.3 % of a share.
    mean, std, score, spread, median, share = columns(fits(1.0, 0.0))
    assert max(abs(mean), abs(score), abs(median)) < 0.2
    assert abs(std - 1) < 0.15
    assert abs(spread - 1) < 0.15
    assert abs(share - 68.3) < 9.3
    # Errors that are too small by a fifth, and a bias of half of the error.
    _, std, _, spread, _, share = columns(fits(0.8, 0.0))
    assert min(std, spread) > 1.15
    assert share < 63
    mean, _, score, _, median, _ = columns(fits(1.0, 0.5))
    assert min(mean, score, median) > 0.35


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch, capsys):
    path, asked = tmp_path / "results.jsonl", []

    def counted(number, method, psf, start, skip):
        for index in range(start, number):
            if index not in skip:
                asked.append(index)
                line = fits(1.0, 0.0, 1)[0]
                yield {"index": index, "psf": psf, "ratio": 20.0, "seconds": 1.0, "calls": 9, "converged": True, **line}

    monkeypatch.setattr(pulls, "pulls", counted)
    for arguments in (["--number", "2"], ["--number", "4", "--start", "3"], ["--number", "5"]):
        monkeypatch.setattr(sys, "argv", ["pulls.py", str(path), *arguments])
        pulls.main()
    assert asked == [0, 1, 3, 2, 4]
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == asked
    assert "5 fits of 1.0 s; converged: 5" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["pulls.py", str(path), "--psf", "fine"])
    with pytest.raises(SystemExit):
        pulls.main()
    assert "holds fits with another PSF than 'fine'" in capsys.readouterr().err


def test_calibration_draws_galaxy_and_sky():
    names = [f"comp_00_{name}" for name in ("theta", "e", "re", "Ie")] + ["comp_01_a0"]
    found = calibration.light_of(names, np.array([0.7, 0.4, 3.0 * calibration.PIXEL, 20.0, 1.5]))
    psf = truth.Psf.gaussian(1.3 * math.sqrt(8 * math.log(2)))
    law = {"theta": 0.7, "e": 0.4, "re": 3.0, "Ie": 20.0, "ns": 1.5}
    expected = truth.image("Sersic", law, (0, 0), psf, (24, 24)) + 1.5
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.max())
