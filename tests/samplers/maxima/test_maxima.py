"""Several maxima: they are found, the map covers them, runs that find more start again, and results say so."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from socca.fitting.sample import sample
from socca.likelihood.problem import Problem
from socca.models import Background, Exponential, Gaussian, Model, Sersic
from socca.pool import SerialPool
from socca.posterior.record import FitRecord
from socca.priors import boundto, uniform
from socca.samplers import get_sampler
from socca.samplers.checkpoint import Checkpoint, CheckpointFile
from socca.samplers.cube.repartitioning import EQUAL_SHARE, PRIOR_SHARE, WIDTH, IdentityMap, Repartitioning
from socca.samplers.cube.repartitioning_check import bounds_on_share_beyond
from socca.samplers.cube.unit_cube import UnitCube
from socca.samplers.maxima.maximum import Maximum
from socca.samplers.maxima.search import Maxima, find_maxima
from socca.samplers.maxima.starts import ImageStarts
from socca.survey.config.sections import FlagsConfig
from socca.survey.flags import flags_of
from tests import fakes, posteriors
from tests.fakes import Numpy, gaussian

#: Of the samplers, for small problems.
FEW = {
    "nautilus": {"n_live": 150, "n_eff": 800},
    "dynesty": {"nlive": 150},
    "pocomc": {"n_active": 64, "n_effective": 128, "n_total": 1000, "n_evidence": 1000, "flow": "nsf3"},
}


def one_maximum(place, sigma):
    return Maximum(np.atleast_1d(place), 0.0, np.atleast_2d(sigma**2), True, True, 1, 0)


def search(problem, seed=1, **options):
    options = {"n_draws": 1000, "n_starts": 6, "maxiter": 200, **options}
    return find_maxima(problem, problem.log_likelihood, np.random.default_rng(seed), **options)


# the map


@pytest.mark.parametrize(
    "places", [[(0.3, 1e-3), (0.7, 0.05)], [(0.03, 0.02), (0.5, 1e-6), (0.85, 0.1)], [(0.2, 0.1), (0.21, 0.1)]]
)
def test_the_map_inverts_a_mixture_of_students(places):
    """Against scipy's own Student density, one axis: place and density."""
    problem = Numpy(lambda theta: theta[:, 0], [uniform(0, 1)])
    masses = np.arange(1.0, len(places) + 1)
    cube = Repartitioning(problem, [one_maximum(*place) for place in places], masses)
    shares = (1 - PRIOR_SHARE) * ((1 - EQUAL_SHARE) * masses / masses.sum() + EQUAL_SHARE / len(places))
    laws = [stats.t(2, loc=x, scale=WIDTH * sigma) for x, sigma in places]
    inside = [law.cdf(1) - law.cdf(0) for law in laws]

    def cdf(x):
        parts = [b * (law.cdf(x) - law.cdf(0)) / n for b, law, n in zip(shares, laws, inside, strict=True)]
        return PRIOR_SHARE * x + sum(parts)

    w = np.random.default_rng(3).random(60)
    v, log_density = cube.to_prior(w[:, None])
    wanted = [brentq(lambda x, q=q: cdf(x) - q, 0, 1, xtol=1e-15, rtol=1e-15) for q in w]
    narrowest = min(sigma for _, sigma in places)
    assert v[:, 0] == pytest.approx(wanted, abs=1e-9 * narrowest + 2e-15)
    density = PRIOR_SHARE + sum(b * law.pdf(v[:, 0]) / n for b, law, n in zip(shares, laws, inside, strict=True))
    assert log_density == pytest.approx(np.log(density), abs=1e-9)


def test_each_maximum_has_its_own_circle():
    """Two maxima to the two sides of an angle's end: both are in the middle of their densities."""
    problem = Numpy(lambda theta: theta[:, 0], [uniform(0, np.pi)], [np.pi])
    cube = Repartitioning(problem, [one_maximum(0.02, 0.05), one_maximum(1.6, 0.05)])
    v, _ = cube.to_prior(np.random.default_rng(1).random((20_000, 1)))
    angle = np.pi * v[:, 0]
    for place in (0.02, 1.6):
        off = (angle - place + np.pi / 2) % np.pi - np.pi / 2
        near = off[np.abs(off) < 0.1]
        assert len(near) == pytest.approx(
            0.45 * 0.76 * 20_000, rel=0.1
        )  # of Student's density, within 1.7 of its scale
        assert np.mean(near > 0) == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(len(near)))


def test_what_a_map_does_not_cover_is_bounded():
    """One point in ten is beyond; the error of the share is that of a share of independent points."""
    log_ratio = np.tile([0.0] * 9 + [2.0], 100)
    low, high = bounds_on_share_beyond(np.zeros(1000), log_ratio, 0.5)
    assert (low + high) / 2 == pytest.approx(0.1)
    assert (high - low) / 4 == pytest.approx(math.sqrt(0.1 * 0.9 / 1000))
    assert bounds_on_share_beyond(np.zeros(1000), log_ratio, 1.5) == (0.0, 0.0)


# the search


def test_both_maxima_are_found_and_weighed():
    known = fakes.two_modes()
    found = search(known.problem)
    assert [one.theta for one in found.found] == [pytest.approx(x, abs=1e-3) for x in ([0.65, 0.6], [0.2, 0.3])]
    assert found.masses == pytest.approx([0.7, 0.3], abs=0.01)
    assert found.highest is found.found[1]
    assert not found.is_single
    assert sum(one.agreeing for one in found.found) == found.searches


def test_maxima_survive_a_checkpoint():
    found = search(fakes.two_modes().problem)
    again = Maxima.from_arrays(found.arrays())
    assert again.notes() == found.notes()
    for one, other in zip(again.found, found.found, strict=True):
        for field in dataclasses.fields(Maximum):
            assert np.array_equal(getattr(one, field.name), getattr(other, field.name))
            assert type(getattr(one, field.name)) is type(getattr(other, field.name))


def test_a_flat_ridge_is_one_maximum():
    """Along the diagonal nothing changes: wherever searches end, there is no dip between them."""
    problem = Numpy(lambda theta: gaussian(theta @ [[1.0], [-1.0]], np.zeros(1), 0.02), [uniform(0, 1)] * 2)
    found = search(problem)
    assert len(found.found) == 1
    assert found.agreeing == found.searches


@pytest.mark.parametrize("on_sky", [False, True])
def test_searches_start_from_peaks_of_the_image(make_image, make_header, pixel, on_sky):
    """Two faint, small sources on a large field, of which a draw from the prior hardly meets either."""
    row, col = np.mgrid[:41, :41]
    places = [(8, 30), (33, 12)]
    data = sum(9 * np.exp(-0.5 * ((row - i) ** 2 + (col - j) ** 2) / 1.2**2) for i, j in places)
    image = make_image(data, header=make_header((41, 41), dec=60.0) if on_sky else None)
    ra, dec = image.frame.center
    half = 20 * pixel
    x = uniform(ra - half / math.cos(math.radians(dec)), ra + half / math.cos(math.radians(dec)))
    source = Gaussian(xc=x, yc=uniform(dec - half, dec + half), rs=1.2 * pixel, Is=uniform(0, 30))
    problem = Problem(image, Model(source))
    starts = problem.prior_transform(ImageStarts(problem, problem.log_likelihood).from_peaks(np.random.default_rng(1)))
    rows, cols = image.frame.to_pixel(starts[:, 0], starts[:, 1])
    for i, j in places:
        assert np.hypot(rows - i, cols - j).min() < 0.6
    found = search(problem, n_draws=20, n_starts=1)
    assert len(found.found) == 2
    assert found.masses == pytest.approx([0.5, 0.5], abs=0.02)


def test_masked_pixels_are_no_peaks(make_image, pixel):
    """Stars that were cut out of a bright sky are holes or heaps of zeros; the source is what is left."""
    row, col = np.mgrid[:41, :41]
    data = 1000.0 + 9 * np.exp(-0.5 * ((row - 30) ** 2 + (col - 12) ** 2) / 1.2**2)
    bad = np.zeros(data.shape, bool)
    for i, j in ((8, 8), (10, 30), (33, 33), (20, 20), (5, 20)):
        bad[i - 2 : i + 3, j - 2 : j + 3] = True
    data[bad] = 0.0
    image = make_image(data)
    image.addmask(np.where(bad, 0, 1))
    half = 15 * pixel
    source = Gaussian(xc=uniform(-half, half), yc=uniform(-half, half), rs=1.2 * pixel, Is=uniform(0, 30))
    model = Model(source)
    model.addcomponent(Background(a0=1000.0))
    problem = Problem(image, model, buckets=True)
    starts = problem.prior_transform(ImageStarts(problem, problem.log_likelihood).from_peaks(np.random.default_rng(1)))
    rows, cols = image.frame.to_pixel(starts[:, 0], starts[:, 1])
    assert np.hypot(rows - 30, cols - 12).min() < 0.6


def test_alike_components_are_exchanged():
    problem = posteriors.CASES["swapped_unequal"][1]()
    starts = ImageStarts(problem, problem.log_likelihood)
    theta = problem.prior_transform([[0.25, 0.8]])[0]
    assert problem.prior_transform(starts.swapped(theta))[0] == pytest.approx(theta[::-1])
    found = search(problem, n_draws=30, n_starts=1)
    assert len(found.found) == 2
    assert found.found[0].theta == pytest.approx(found.found[1].theta[::-1], abs=0.1 * posteriors.PIXEL)


def test_components_of_two_kinds_exchange_their_roles(make_image, pixel):
    """A disk and a bulge: their sizes, and what has the same name; not the index, which only the bulge has."""
    disk = Exponential(
        xc=uniform(-pixel, pixel), yc=0.0, theta=0.0, e=uniform(0, 0.9), rs=uniform(pixel, 8 * pixel), Is=1.0
    )
    bulge = Sersic(xc=boundto(disk, "xc"), yc=0.0, theta=0.0, e=0.1, re=uniform(pixel, 5 * pixel), Ie=1.0)
    bulge.ns = uniform(0.5, 6)
    model = Model(disk)
    model.addcomponent(bulge)
    model.addcomponent(Background(a0=uniform(-1, 1)))
    problem = Problem(make_image(np.ones((15, 15))), model)
    place = {name: k for k, name in enumerate(problem.names)}
    rs, re, ns, e = (place[name] for name in ("comp_00_rs", "comp_01_re", "comp_01_ns", "comp_00_e"))
    theta = problem.prior_transform(np.full((1, problem.ndim), 0.4))[0]
    theta[[rs, re]] = [7 * pixel, 2 * pixel]
    (swapped,) = problem.prior_transform(ImageStarts(problem, problem.log_likelihood).swapped(theta))
    # 7 pixels are more than the bulge may have; starts keep a little away from the edges.
    assert swapped[[rs, re]] == pytest.approx([2 * pixel, 5 * pixel], rel=1e-4)
    assert swapped[[ns, e]] == pytest.approx(theta[[ns, e]])


def test_a_source_moves_to_what_a_model_leaves_over():
    """The start of `from_residual`: the model sits on the first source, the residual shows the second."""
    problem = posteriors.CASES["two_in_the_plane"][1]()
    on_first = np.array([-4 * posteriors.PIXEL, 3 * posteriors.PIXEL, 8.0])
    starts = ImageStarts(problem, problem.log_likelihood).from_residual(on_first, np.random.default_rng(1))
    off = problem.prior_transform(starts)[:, :2] / posteriors.PIXEL - [5, -2]
    assert np.hypot(*off.T).min() < 0.6


def test_a_problem_without_image_has_no_starts_from_it():
    problem = fakes.two_modes().problem
    starts = ImageStarts(problem, problem.log_likelihood)
    assert starts.from_peaks(np.random.default_rng(1)).shape == (0, 2)
    assert starts.from_residual(np.array([0.2, 0.3]), np.random.default_rng(1)).shape == (0, 2)
    assert starts.swapped(np.array([0.2, 0.3])).shape == (0, 2)


# runs


@pytest.mark.parametrize("method", ["nautilus", "dynesty", pytest.param("pocomc", marks=pytest.mark.slow)])
def test_equal_maxima_get_half_each(method):
    if method == "pocomc":
        pytest.importorskip("pocomc")
    problem = posteriors.CASES["two_equal"][1]()
    draws = get_sampler(method)(**FEW[method]).run(problem, SerialPool(problem.log_likelihood), 3)
    known = posteriors.reference()["two_equal"]
    assert draws.notes["focused"]
    assert draws.notes["maxima"] == 2
    n_eff = 1 / np.sum(np.exp(2 * draws.log_weights))
    share = np.exp(draws.log_weights)[draws.samples[:, 0] > 0].sum()
    assert share == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(n_eff))
    assert abs(draws.logz - known.logz) < 4 * draws.logz_err


def test_the_compact_source_is_not_lost():
    """With focus on the extended one alone, ln Z came out lower by 62."""
    known = posteriors.reference()["compact_holds_more"]
    problem = posteriors.CASES["compact_holds_more"][1]()
    draws = get_sampler("nautilus")(**FEW["nautilus"]).run(problem, SerialPool(problem.log_likelihood), 1)
    assert abs(draws.logz - known.logz) < 4 * draws.logz_err
    assert draws.converged


@pytest.fixture
def blind(monkeypatch):
    """Let searches keep the highest maximum alone, and the trial see nothing."""

    def only_highest(*given, **named):
        found = find_maxima(*given, **named)
        return dataclasses.replace(found, found=(found.highest,), masses=np.ones(1))

    monkeypatch.setattr("socca.samplers.cube.repartitioning_check.find_maxima", only_highest)
    monkeypatch.setattr("socca.samplers.cube.unit_cube.uncovered_share", lambda *given: 0.0)


@pytest.mark.parametrize("method", ["nautilus", "dynesty", pytest.param("pocomc", marks=pytest.mark.slow)])
def test_a_run_that_finds_more_begins_again_without_focus(blind, method):
    if method == "pocomc":
        pytest.importorskip("pocomc")
    known = fakes.two_modes()
    draws = get_sampler(method)(**FEW[method]).run(known.problem, SerialPool(known.problem.log_likelihood), 2)
    assert draws.notes["unfocused_in_run"]
    assert draws.notes["focused"] is False
    assert abs(draws.logz - known.logz) < 4 * draws.logz_err


@pytest.mark.parametrize("method", ["nautilus", "dynesty"])
@pytest.mark.parametrize("focused", [True, False])
def test_it_goes_on_from_a_checkpoint_before_and_after(blind, tmp_path, monkeypatch, method, focused):
    """Bit for bit, whether it was cut while it was focused or when it was not any more."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    offer, write, count, kept = CheckpointFile.offer, CheckpointFile._write, [0], []

    class CutShortError(Exception):
        pass

    def eagerly(self, state, *, last=False):
        count[0] += 1
        if last or method == "nautilus" or count[0] % 60 == 0:
            self._due = 0.0
            offer(self, state, last=last)

    def counted(self, state):
        if kept.count(focused) == 2:
            raise CutShortError
        kept.append(bool(state["focused"]))
        write(self, state)

    problem = fakes.two_modes().problem
    problem.digest = lambda: "two modes"
    run = get_sampler(method)(**FEW[method]).run
    whole = run(problem, SerialPool(problem.log_likelihood), 2)
    monkeypatch.setattr(CheckpointFile, "offer", eagerly)
    monkeypatch.setattr("socca.samplers.nautilus._SLICE", 1e-3)
    signed = get_sampler(method).pickles
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointFile, "_write", counted)
        with pytest.raises(CutShortError):
            run(problem, SerialPool(problem.log_likelihood), 2, CheckpointFile(tmp_path / "c", {}, signed=signed))
    assert kept[-1] is focused
    resumed = run(problem, SerialPool(problem.log_likelihood), 2, CheckpointFile(tmp_path / "c", {}, signed=signed))
    assert resumed.logz == whole.logz
    assert np.array_equal(resumed.samples, whole.samples)
    assert resumed.notes == whole.notes


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("emcee", {"n_eff": 500}),
        ("optimizer", {}),
        pytest.param("numpyro", {"num_chains": 1, "num_warmup": 200, "num_samples": 600}, marks=pytest.mark.slow),
    ],
)
def test_chains_and_maxima_tell_of_another_maximum(method, options):
    problem = posteriors.CASES["two_equal"][1]()
    posterior, draws = sample(problem, method, seed=1, **options)
    assert draws.converged is False
    assert draws.notes["maxima"] == 2
    assert draws.notes["maxima_shares"] == pytest.approx([0.5, 0.5], abs=0.1)
    assert {"multimodal", "not_converged"} <= set(flags_of(posterior.record))


def test_flags():
    notes = {"maxima_shares": [0.97, 0.03], "searches": 12, "searches_at_highest": 4}
    record = FitRecord.from_dict({"notes": notes})
    assert flags_of(record) == ["multimodal"]
    assert flags_of(record, FlagsConfig(multimodal=0.05)) == []
    once = {**notes, "maxima_shares": [1.0], "searches_at_highest": 1}
    assert flags_of(FitRecord.from_dict({"notes": once})) == ["maximum_found_once"]
    assert flags_of(FitRecord()) == []


def test_samples_without_a_known_maximum_are_not_converged():
    """All samples at one of two maxima that were found: the result says that one is missing."""
    known = fakes.two_modes()
    cube = UnitCube(known.problem, SerialPool(known.problem.log_likelihood), 1, Checkpoint(), focus=True)
    cube._map = IdentityMap()
    at_one = np.random.default_rng(1).normal([0.2, 0.3], 0.03, (500, 2))
    at_other = np.clip(np.random.default_rng(2).normal([0.65, 0.6], 0.1, (1200, 2)), 0, 1)
    for w, missing in ((at_one, True), (np.concatenate([at_one, at_other]), False)):
        zeros = np.zeros(len(w))
        draws = cube.draws(w, zeros, zeros, converged=True, notes={}, logz=0.0, logz_err=0.1)
        assert draws.notes["maxima_missing"] is missing
        assert draws.converged is not missing


def four_alike():
    """Give a problem of four alike sources: any of the 24 orders of the components fits equally well."""
    places = [(-6, -6), (6, -5), (-6, 6), (6, 6)]
    data = sum(posteriors.light(21, *place, 1.5, 5.0) for place in places)
    alike = [
        Gaussian(xc=posteriors.px(-10, 10), yc=posteriors.px(-10, 10), rs=1.5 * posteriors.PIXEL, Is=5.0)
        for _ in range(4)
    ]
    return posteriors.problem(data, *alike)


def test_all_orders_of_four_components_are_found():
    """All have one share: 1/24 each, to what a Laplace approximation of one Gaussian at a time allows (1e-3)."""
    found = four_alike()
    maxima = find_maxima(found, found.log_likelihood, np.random.default_rng(1), n_draws=1000, n_starts=6, maxiter=200)
    assert len(maxima.found) == 24
    assert maxima.left_out == 0
    np.testing.assert_allclose(maxima.masses, 1 / 24, rtol=1e-3)


def test_more_maxima_than_are_kept_are_not_forgotten(monkeypatch):
    """Then nothing is focused on those that are kept: the evidence would be theirs alone."""
    monkeypatch.setattr("socca.samplers.maxima.search._MOST", 8)
    found = four_alike()
    maxima = find_maxima(found, found.log_likelihood, np.random.default_rng(1), n_draws=1000, n_starts=6, maxiter=200)
    assert len(maxima.found) == 8
    assert maxima.left_out == pytest.approx(2 / 3, rel=1e-3)
    assert not maxima.is_single
    again = type(maxima).from_arrays(maxima.arrays())
    assert again.left_out == maxima.left_out
    pool = SerialPool(found.log_likelihood)
    cube = UnitCube(found, pool, 1, Checkpoint(), focus=True)
    assert not cube.focused
    assert cube.parted
