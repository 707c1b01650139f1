"""Flags: each from its own condition, at the thresholds that are asked for."""

import subprocess
import sys
from dataclasses import asdict

import pytest

from socca.posterior.record import FitQuality, FitRecord
from socca.posterior.sampler_record import Notes, SamplerRecord
from socca.survey.config.sections import FlagsConfig
from socca.survey.flags import DEFAULTS, DefaultThresholds, flags_of


def record(*, quality=None, converged=None, **notes):
    return FitRecord(quality=quality or FitQuality(), sampler=SamplerRecord(converged=converged, notes=Notes(**notes)))


@pytest.mark.parametrize(
    ("at", "beyond", "flag", "stricter"),
    [
        (record(quality=FitQuality(chi2_source=1.5)), record(quality=FitQuality(chi2_source=1.6)), "poor_fit", 1.4),
        (
            record(quality=FitQuality(edge_probability=0.05)),
            record(quality=FitQuality(edge_probability=0.06)),
            "prior_edge",
            0.04,
        ),
        (record(maxima_shares=[0.995, 0.005]), record(maxima_shares=[0.01, 0.98, 0.01]), "multimodal", 0.001),
    ],
)
def test_thresholds(at, beyond, flag, stricter):
    name = {"prior_edge": "at_prior_edge"}.get(flag, flag)
    assert flags_of(at) == []
    assert flags_of(beyond) == [name]
    assert flags_of(at, DefaultThresholds(**{flag: stricter})) == [name]
    assert flags_of(at, FlagsConfig(**{flag: stricter})) == [name]


def test_what_has_no_threshold():
    assert flags_of(record(searches=6, searches_at_highest=1)) == ["maximum_found_once"]
    assert flags_of(record(searches=1, searches_at_highest=1)) == []
    assert flags_of(record(searches=6, searches_at_highest=2)) == []
    assert flags_of(record(tier="nautilus", escalated=["k-hat is 0.90"])) == ["escalated"]
    assert flags_of(record(tier="importance")) == []
    assert flags_of(record(converged=False)) == ["not_converged"]
    assert flags_of(record(converged=True)) == []


def test_what_is_not_known_is_not_flagged():
    assert flags_of(FitRecord()) == []


def test_defaults_are_those_of_a_config_that_does_not_say():
    assert FlagsConfig().model_dump() == asdict(DEFAULTS)


def test_flags_need_no_config():
    code = (
        "import sys, socca.survey.flags; sys.exit(any(name.startswith('socca.survey.config') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
