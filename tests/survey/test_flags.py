"""Flags: each from its own condition, at the thresholds that are asked for."""

import subprocess
import sys
from dataclasses import asdict

import pytest

from socca.fitting.plausibility.doubts import MEANINGS
from socca.posterior.record import Failure, FitQuality, FitRecord
from socca.posterior.sampler_record import Notes, SamplerRecord
from socca.survey.config.sections import FlagsConfig
from socca.survey.flags import DEFAULTS, FLAGS, OUTDATED, DefaultThresholds, bits_of, flags_of, names_of


def record(*, quality=None, converged=None, **notes):
    return FitRecord(quality=quality or FitQuality(), sampler=SamplerRecord(converged=converged, notes=Notes(**notes)))


def quality(**values):
    return record(quality=FitQuality(**values))


#: Flag -> a record without it, and one with it.
BOTH = {
    "failed": (FitRecord(), FitRecord(failure=Failure("no"))),
    "capped": (FitRecord(failure=Failure("no")), FitRecord(failure=Failure("no", capped={"max_minutes": 1.0}))),
    "not_converged": (record(converged=True), record(converged=False)),
    "poor_fit": (quality(chi2_source=1.5), quality(chi2_source=1.6)),
    # 0.6 is no chance with 400 pixels, whose scatter is 0.07; with 40 pixels, whose scatter is 0.22, it may be.
    "chi2_low": (quality(chi2_red=0.6, n_used=40), quality(chi2_red=0.6, n_used=400)),
    "source_not_seen": (quality(n_source=1), quality(n_source=0)),
    "at_prior_edge": (quality(edge_probability=0.05), quality(edge_probability=0.06)),
    "multimodal": (record(maxima_shares=[0.995, 0.005]), record(maxima_shares=[0.01, 0.98, 0.01])),
    "maximum_found_once": (
        record(searches=6, searches_at_highest=2),
        record(searches=6, searches_at_highest=1),
    ),
    "escalated": (record(tier="importance"), record(tier="nautilus", escalated=["k-hat is 0.90"])),
    "few_samples": (
        FitRecord(sampler=SamplerRecord(n_eff=200.0)),
        FitRecord(sampler=SamplerRecord(n_eff=199.0)),
    ),
    "heavy_tail": (
        record(tier="importance", extra={"tail": 0.69}),
        record(tier="importance", extra={"tail": 0.71}),
    ),
    **{name: (FitRecord(doubts={}), FitRecord(doubts={name: "so"})) for name in MEANINGS},
    # Of 100 pixels, the scatter of a correlation is 0.1.
    "residual_structure": (
        quality(residual_correlation=0.45, n_source=100),
        quality(residual_correlation=0.45, n_source=400),
    ),
    "light_outside": (quality(light_outside=0.5), quality(light_outside=0.6)),
}


@pytest.mark.parametrize("name", BOTH)
def test_every_flag_is_raised_by_its_own_condition(name):
    without, with_it = BOTH[name]
    assert name not in flags_of(without)
    assert name in flags_of(with_it)
    assert set(flags_of(with_it)) - {"failed"} <= {name}


def test_every_flag_is_tested():
    assert {*BOTH, OUTDATED} == set(FLAGS)  # that one is raised by the catalogue: tests/survey/jobs/test_derive.py


@pytest.mark.parametrize(
    ("threshold", "stricter"),
    [
        ("poor_fit", 1.4),
        ("prior_edge", 0.04),
        ("multimodal", 0.001),
        ("few_samples", 201.0),
        ("light_outside", 0.4),
    ],
)
def test_thresholds(threshold, stricter):
    name = {"prior_edge": "at_prior_edge"}.get(threshold, threshold)
    at = BOTH[name][0]
    assert flags_of(at, DefaultThresholds(**{threshold: stricter})) == [name]
    assert flags_of(at, FlagsConfig(**{threshold: stricter})) == [name]


def test_what_has_no_threshold():
    assert flags_of(record(searches=1, searches_at_highest=1)) == []
    assert flags_of(FitRecord(sampler=SamplerRecord(method="optimizer", n_eff=50.0))) == []
    assert flags_of(record(tier="nautilus", extra={"tail": 0.9})) == ["escalated"]


def test_bits_are_told_apart_and_never_change():
    bits = {name: flag.bit for name, flag in FLAGS.items()}
    assert sorted(bits.values()) == list(range(len(FLAGS)))
    assert list(bits.values()) == sorted(bits.values())
    # A catalogue that somebody keeps says what it said: these numbers stay.
    names = (
        "failed capped not_converged poor_fit chi2_low source_not_seen at_prior_edge multimodal maximum_found_once "
        "escalated few_samples heavy_tail constant_image off_image target_masked wide_position pixel_scale "
        "frame_not_icrs size_prior angle_prior intensity_prior noise_level psf_center psf_shape psf_scale "
        "residual_structure light_outside quantities_outdated"
    )
    assert list(bits) == names.split()


def test_names_of_bits():
    assert bits_of(["poor_fit", "escalated"]) == 8 + 512
    assert names_of(8 + 512) == ["poor_fit", "escalated"]
    assert names_of(bits_of(FLAGS)) == list(FLAGS)
    assert bits_of([]) == 0


def test_what_is_not_known_is_not_flagged():
    assert flags_of(FitRecord()) == []


def test_defaults_are_those_of_a_config_that_does_not_say():
    assert FlagsConfig().model_dump() == asdict(DEFAULTS)


def test_flags_need_no_config():
    code = (
        "import sys, socca.survey.flags; sys.exit(any(name.startswith('socca.survey.config') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
