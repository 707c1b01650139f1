"""Proposals, rounds and weights of importance sampling, on densities whose integrals are known."""

import math

import numpy as np
import pytest
from scipy.stats import genpareto, multivariate_normal, norm
from scipy.stats import t as student_t

from socca.samplers.importance.proposal import FREEDOM, PRIOR_SHARE, Proposal, student_of
from socca.samplers.importance.rounds import (
    Rounds,
    agree,
    effective_number,
    evidence,
    tail_shape,
    tempered,
    truncated,
)


class StandardNormal:
    """A prior of two parameters."""

    ndim = 2

    def log_prior(self, z):
        return multivariate_normal(np.zeros(2), np.eye(2)).logpdf(z)

    def draw_prior(self, n, rng):
        return rng.standard_normal((n, 2))


PRIOR = StandardNormal()
COVARIANCE = np.array([[0.04, 0.015], [0.015, 0.09]])


def proposal(*middles, scale=1.0, shares=None):
    students = tuple(student_of(np.array(middle, float), scale * COVARIANCE) for middle in middles)
    return Proposal(PRIOR, students, np.full(len(middles), 1 / len(middles)) if shares is None else np.array(shares))


def target(z, middle=(0.5, -1.0)):
    """Return a log-likelihood that makes likelihood times prior a Gaussian of integral exp(2)."""
    prior = multivariate_normal(np.zeros(2), np.eye(2)).logpdf(z)
    return multivariate_normal(middle, COVARIANCE).logpdf(z) - prior + 2


def test_draws_are_those_of_the_density():
    """Their weights for a known density have its integral as their mean."""
    rng = np.random.default_rng(3)
    q = proposal((0.3, -1.2), (1.0, 0.0), shares=[0.7, 0.3])
    z = q.draw(20_000, rng)
    logz, error = evidence(target(z) + multivariate_normal(np.zeros(2), np.eye(2)).logpdf(z) - q.log_density(z))
    assert error < 0.02
    assert abs(logz - 2) < 4 * error


def test_each_part_has_its_number_of_draws():
    rng = np.random.default_rng(4)
    far = proposal((50.0, 0.0), (-50.0, 0.0), shares=[0.75, 0.25])
    z = far.draw(1000, rng)
    assert np.sum(z[:, 0] > 25) == pytest.approx(1000 * (1 - PRIOR_SHARE) * 0.75, abs=1.5)
    assert np.sum(np.abs(z[:, 0]) < 25) == pytest.approx(1000 * PRIOR_SHARE, abs=1.5)


def test_a_proposal_without_students_is_the_prior():
    alone = Proposal(PRIOR)
    z = alone.draw(5, np.random.default_rng(1))
    assert z.shape == (5, 2)
    np.testing.assert_allclose(alone.log_density(z), multivariate_normal(np.zeros(2), np.eye(2)).logpdf(z))


def test_a_proposal_is_fitted_to_weighted_points():
    """Two heaps of a Student density of the same freedom, seen through weights of 1 and 1/3."""
    rng = np.random.default_rng(5)
    heaps = [student_of(np.array(at), COVARIANCE).draw(6000, rng) for at in ([2.0, 0.0], [-2.0, 1.0])]
    z = np.concatenate(heaps)
    weights = np.repeat([1.0, 1 / 3], 6000)
    found = proposal((1.0, 0.0), (-1.0, 0.0), scale=4).fitted(z, weights / weights.sum())
    np.testing.assert_allclose(found.shares, [0.75, 0.25], atol=0.01)
    # A middle is known to 2 % of a deviation of 0.2 to 0.3.
    for student, middle in zip(found.students, ([2.0, 0.0], [-2.0, 1.0]), strict=True):
        assert student.square_distance(np.array([middle]))[0] < 0.01
    # Of one heap, its own Student density is as good as the true one: the mean log density tells.
    true = student_of(np.array([2.0, 0.0]), COVARIANCE).log_density(heaps[0]).mean()
    assert found.students[0].log_density(heaps[0]).mean() == pytest.approx(true, abs=0.02)


def test_a_student_without_points_is_left_out():
    rng = np.random.default_rng(6)
    z = multivariate_normal((0, 0), COVARIANCE).rvs(500, random_state=rng)
    found = proposal((0.0, 0.0), (40.0, 40.0)).fitted(z, np.full(500, 1 / 500))
    assert len(found.students) == 1
    assert found.shares.tolist() == [1.0]


def test_another_student_goes_where_weight_is_far_from_the_first():
    rng = np.random.default_rng(7)
    z = np.concatenate([rng.normal([0, 0], 0.1, (400, 2)), rng.normal([3, 3], 0.1, (400, 2))])
    more = proposal((0.0, 0.0), scale=0.1).with_another(z, np.full(800, 1 / 800), rng)
    assert len(more.students) == 2
    assert more.students[1].square_distance(np.array([[3.0, 3.0]]))[0] < 0.5
    assert more.shares.sum() == pytest.approx(1)


def test_rounds_are_weighted_by_the_mixture_of_all_their_proposals():
    rng = np.random.default_rng(8)
    rounds, parts = Rounds(PRIOR), [proposal((0.0, 0.0), scale=9), proposal((0.5, -1.0))]
    for one, number in zip(parts, (300, 700), strict=True):
        z = one.draw(number, rng)
        rounds.add(one, z, target(z))
    mixture = np.log(0.3 * np.exp(parts[0].log_density(rounds.z)) + 0.7 * np.exp(parts[1].log_density(rounds.z)))
    expected = multivariate_normal((0.5, -1.0), COVARIANCE).logpdf(rounds.z) + 2 - mixture
    np.testing.assert_allclose(rounds.log_weights(), expected)
    logz, error = evidence(rounds.log_weights())
    assert abs(logz - 2) < 4 * error


def test_impossible_points_have_no_weight():
    rounds, one = Rounds(PRIOR), proposal((0.0, 0.0))
    z = one.draw(10, np.random.default_rng(9))
    rounds.add(one, z, np.array([np.nan, -np.inf, *[0.0] * 8]))
    assert np.isneginf(rounds.log_weights()[:2]).all()
    assert np.isfinite(rounds.log_weights()[2:]).all()


def test_evidence_and_effective_number():
    rng = np.random.default_rng(10)
    weights = rng.gamma(2.0, 1.0, 5000)
    logz, error = evidence(np.log(weights) + 700)
    assert logz == pytest.approx(700 + math.log(weights.mean()))
    assert error == pytest.approx(weights.std(ddof=1) / weights.mean() / math.sqrt(5000))
    assert effective_number(np.log(weights)) == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert effective_number(np.zeros(7)) == pytest.approx(7)
    nothing = np.full(3, -np.inf)
    assert evidence(nothing) == (-math.inf, math.inf)
    assert effective_number(nothing) == 0
    assert effective_number(np.zeros(0)) == 0


def test_draws_with_much_weight_far_out_count_for_less():
    """The stated number gives the scatter of means, as many repetitions show it."""
    rng = np.random.default_rng(11)
    wide, narrow = multivariate_normal([0, 0], np.eye(2)), multivariate_normal([0, 0], 0.8 * np.eye(2))
    means, numbers, kish = [], [], []
    for _ in range(400):
        z = narrow.rvs(2000, random_state=rng)
        log_weights = wide.logpdf(z) - narrow.logpdf(z)
        weights = np.exp(log_weights)
        means.append(weights @ z / weights.sum())
        numbers.append(effective_number(log_weights, z))
        kish.append(effective_number(log_weights))
    # 800 squared means: known to 5 %.
    assert 1 / np.mean(np.square(means)) > 0.85 * np.median(numbers)
    assert np.median(numbers) < 0.8 * np.median(kish)


@pytest.mark.parametrize("shape", [-0.5, 0.2, 0.6, 1.0])
def test_the_tail_of_pareto_weights_has_their_shape(shape):
    """Of 20,000 weights, 424 are in the tail: k is known to (1 + k) / sqrt(424), 0.03 to 0.1."""
    weights = genpareto(shape).rvs(20_000, random_state=np.random.default_rng(12)) + 1e-9
    assert tail_shape(np.log(weights)) == pytest.approx(shape, abs=0.3 if shape > 0 else 0.2)


def test_the_tail_is_that_of_arviz():
    """Which fits the same distribution in another way, to the same weights."""
    exports = pytest.importorskip("arviz") and pytest.importorskip("socca.posterior.exports")
    rng = np.random.default_rng(13)
    for freedom in (2.0, 4.0, 30.0):
        log_weights = student_t(freedom).logpdf(z := rng.normal(size=4000)) - norm.logpdf(z)
        assert tail_shape(log_weights) == pytest.approx(float(exports.pareto_smoothed(log_weights)[1]), abs=0.1)


def test_tails_of_few_and_of_equal_weights():
    assert tail_shape(np.zeros(10)) == math.inf
    assert tail_shape(np.full(1000, -np.inf)) == math.inf
    assert tail_shape(np.zeros(1000)) == -math.inf


def test_no_truncated_weight_is_above_the_mean_times_the_root_of_the_number():
    weights = truncated(np.array([50.0, *np.zeros(99)]))
    assert weights.sum() == pytest.approx(1)
    assert weights[0] == weights.max()
    assert weights[0] / weights[1:].sum() > 1
    np.testing.assert_allclose(truncated(np.zeros(100)), 0.01)


def test_evidences_agree_within_errors_or_a_floor():
    assert agree((1.0, 0.1), (1.3, 0.0), 4, 0.05)
    assert not agree((1.0, 0.05), (1.3, 0.0), 4, 0.05)
    assert agree((1.0, 0.001), (1.04, 0.0), 4, 0.05)


def test_freedom_is_that_of_heavy_tails():
    """A Student density falls more slowly than a Gaussian: draws of the target far out have bounded weights."""
    one = student_of(np.zeros(2), COVARIANCE)
    far = np.array([[3.0, 0.0], [6.0, 0.0]])
    fall = one.log_density(far)
    assert fall[0] - fall[1] == pytest.approx((FREEDOM + 2) * math.log(2), rel=0.1)


def test_rounds_of_several_proposals_are_combined():
    """Of 200 runs, three proposals each, the last two fitted to what came before: pulls of ln Z are those of its error.

    Their mean is 0 to 4 of its 0.07, and their deviation 1 to 4 of its 0.05.
    """
    pulls, gains = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        now, rounds = proposal((0.2, -0.6), scale=2.0), Rounds(PRIOR)
        for number in (150, 300, 300):
            z = now.draw(number, rng)
            rounds.add(now, z, target(z))
            now = now.fitted(rounds.z, truncated(rounds.log_weights()))
        found = rounds.since(0)
        pulls.append((found.logz - 2) / found.logz_err)
        assert found.logz == pytest.approx(evidence(found.log_weights)[0], abs=1e-12)
        gains.append(effective_number(found.log_weights) / effective_number(rounds.since(2).log_weights))
    assert abs(np.mean(pulls)) < 4 / math.sqrt(200)
    assert 0.8 < np.std(pulls) < 1.2
    assert np.median(gains) > 1.5


def test_a_round_is_judged_by_the_draws_of_others():
    """A proposal that lacks one of two heaps, and whose draws know little of it, counts for little."""
    both, one = proposal((2.0, 0.0), (-2.0, 0.0)), proposal((2.0, 0.0))
    log_prior = PRIOR.log_prior

    def two_heaps(z):
        return np.logaddexp(*(target(z, middle) for middle in ((2.0, 0.0), (-2.0, 0.0)))) - math.log(2)

    rng, rounds = np.random.default_rng(7), Rounds(PRIOR)
    for q, number in ((both, 2000), (one, 2000)):
        z = q.draw(number, rng)
        rounds.add(q, z, two_heaps(z))
    # By its own draws, it is as good as the other: the few of the prior in the second heap aside.
    near = rounds.z[2000:][rounds.z[2000:, 0] > 0]
    assert effective_number(two_heaps(near) + log_prior(near) - one.log_density(near)) > 0.5 * len(near)
    found = rounds.since(0)
    assert abs(found.logz - 2) < 4 * found.logz_err
    assert found.logz_err < 0.03


def test_a_round_without_weight_counts_for_nothing():
    rounds, far, near = Rounds(PRIOR), proposal((9.0, 9.0)), proposal((0.5, -1.0))
    rng = np.random.default_rng(6)
    z = far.draw(50, rng)
    rounds.add(far, z, np.full(50, -np.inf))
    nothing = rounds.since(0)
    assert (nothing.logz, nothing.logz_err) == (-math.inf, math.inf)
    assert np.all(np.isneginf(nothing.log_weights))
    for _ in range(2):
        z = near.draw(500, rng)
        rounds.add(near, z, target(z))
    found = rounds.since(0)
    assert found.z.shape == (1050, 2)
    assert abs(found.logz - 2) < 4 * found.logz_err
    assert np.isneginf(found.log_weights[:50]).all()
    latest = rounds.since(2)
    assert latest.z.shape == (500, 2)
    np.testing.assert_array_equal(latest.z, rounds.z[550:])


def efficiency(q, log_likelihood, rng, number=4000):
    """Return the share of effective draws from a proposal."""
    z = q.draw(number, rng)
    return effective_number(log_likelihood(z) + PRIOR.log_prior(z) - q.log_density(z)) / number


def test_the_best_mixture_of_proposals():
    """Two that have a heap each: together, in their shares, as good as one with both; a useless one is left out."""
    heaps = [(2.0, 0.0), (-2.0, 0.0)]

    def two_heaps(z):
        parts = [math.log(share) + target(z, heap) for share, heap in zip((0.8, 0.2), heaps, strict=True)]
        return np.logaddexp(*parts)

    rng, rounds = np.random.default_rng(8), Rounds(PRIOR)
    for q in (Proposal(PRIOR), proposal(heaps[0]), proposal((0.0, 3.0))):
        z = q.draw(1000, rng)
        rounds.add(q, z, two_heaps(z))
    second = proposal(heaps[1])
    mixed = rounds.mixed(second, 1, 0.0)
    assert len(mixed.students) == 2
    # The variance is least where shares are those of the heaps.
    np.testing.assert_allclose(mixed.shares, [0.8, 0.2], atol=0.03)
    assert efficiency(mixed, two_heaps, rng) > 0.7
    # A new one has its share although it is as useless as any.
    useless = proposal((0.0, -3.0))
    assert rounds.mixed(useless, 1, 0.2).shares[-1] >= 0.2
    # A Student density that several have is in the mixture once.
    assert len(rounds.mixed(rounds._proposals[1], 1, 0.2).students) <= 2


def test_a_mixture_of_nothing_that_has_any_weight_is_the_new_one():
    rounds, q = Rounds(PRIOR), proposal((9.0, 9.0))
    assert rounds.mixed(q, 0, 0.0) is q
    z = q.draw(50, np.random.default_rng(6))
    rounds.add(q, z, np.full(50, -np.inf))
    other = proposal((0.5, -1.0))
    assert rounds.mixed(other, 0, 0.0) is other


def test_tempered_weights():
    """To the power with which as many draws as asked are effective; truncated ones if they are anyhow."""
    rng = np.random.default_rng(9)
    uneven = 30 * rng.standard_normal(2000)
    uneven[5] = -np.inf
    assert effective_number(uneven) < 5
    weights = tempered(uneven, 60)
    assert weights.sum() == pytest.approx(1)
    assert weights[5] == 0
    assert 1 / (weights @ weights) == pytest.approx(60, rel=0.01)
    assert np.array_equal(np.argsort(weights[6:]), np.argsort(uneven[6:]))
    even = rng.standard_normal(2000)
    np.testing.assert_array_equal(tempered(even, 60), truncated(even))


def test_weights_that_no_power_makes_even():
    """A few draws high above all others, some impossible: weights without a NaN."""
    log_weights = np.concatenate([np.linspace(-1e12, 0, 400), [-np.inf] * 50])
    weights = tempered(log_weights, 150)
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(1)
    assert not weights[400:].any()


def test_a_mixture_of_very_many_proposals():
    """Each has less than a hundredth of it, and yet they are not all left out."""
    rng, rounds = np.random.default_rng(10), Rounds(PRIOR)
    for _ in range(130):
        q = proposal((0.5, -1.0), scale=1.5)
        z = q.draw(20, rng)
        rounds.add(q, z, target(z))
    assert efficiency(rounds.mixed(proposal((0.5, -1.0), scale=1.5), 0, 0.0), target, rng) > 0.5
