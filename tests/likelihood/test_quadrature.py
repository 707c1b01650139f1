"""Rules of quadrature, and the ranks of the pixels that take them."""

import itertools

import numpy as np
import pytest

from socca.likelihood import quadrature


def test_rank():
    table = quadrature.ranking()
    span = np.arange(-60, 61)
    row, col = (axis.ravel() for axis in np.meshgrid(span, span, indexing="ij"))
    for a, ratio in enumerate(quadrature.RATIOS):
        for b in range(quadrature.ORIENTATIONS):
            angle = np.pi * b / quadrature.ORIENTATIONS
            for c in range(quadrature.POSITIONS):
                for d in range(quadrature.POSITIONS):
                    entry = table[a, b, c, d].astype(int)
                    codes = (entry[0] + 60) * 121 + entry[1] + 60
                    # Each pixel once, and the one that holds the centre among the first two.
                    assert len(set(codes.tolist())) == quadrature.RANKED
                    assert 60 * 121 + 60 in codes[:2]
                    if (b + c + d) % 5:  # a fifth of them is enough
                        continue
                    y = row - ((c + 0.5) / quadrature.POSITIONS - 0.5)
                    x = col - ((d + 0.5) / quadrature.POSITIONS - 0.5)
                    major, minor = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
                    radius = np.hypot(major, minor / ratio)
                    inside = np.zeros(radius.size, bool)
                    inside[codes] = True
                    # No gap: whatever is left out is farther than all that is in.
                    assert radius[inside].max() <= radius[~inside].min() * (1 + 1e-12)


def test_rung_weights():
    for smooth in (True, False):
        rungs = quadrature.rungs(smooth)
        assert [rung.first for rung in rungs] == [quadrature.RAY_PIXELS if smooth else 0] + [
            rung.last for rung in rungs[:-1]
        ]
        assert rungs[-1].last == quadrature.RANKED
        for rung in rungs:
            assert rung.weight.sum() == pytest.approx(1, rel=1e-12)
            # The second moment of a pixel; of equal cells, that of their centres.
            moment = (1 if smooth else 1 - rung.size**2) / 12
            for offset in (rung.row, rung.col):
                assert np.abs(offset).max() < 0.5
                assert rung.weight @ offset**2 == pytest.approx(moment, rel=1e-12)


@pytest.mark.parametrize("points", [3, 4, 5, 12])
def test_square_rules(points):
    row, col, weight = quadrature.square(points)
    assert weight.min() > 0
    for a, b in itertools.product(range(2 * points), repeat=2):
        if a + b < 2 * points:
            # The mean of x^a y^b over the unit square about zero.
            exact = np.prod([(1 - k % 2) / ((k + 1) * 2**k) for k in (a, b)])
            assert weight @ (row**a * col**b) == pytest.approx(exact, abs=1e-15)
