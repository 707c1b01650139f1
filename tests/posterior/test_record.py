"""Records: what is kept, what is made up for, and what is refused of other versions and of damaged files."""

import dataclasses
import json

import pytest

from socca.errors import PosteriorError
from socca.posterior.record import (
    RECORD_VERSION,
    Failure,
    FitQuality,
    FitRecord,
    ImageDescription,
    InputFile,
    Provenance,
    Timing,
)
from socca.posterior.sampler_record import Notes, SamplerRecord

#: With a value in every attribute.
WHOLE = FitRecord(
    target="NGC1",
    model="sersic",
    n_data=121,
    doubts={"psf_center": "far off"},
    sampler=SamplerRecord(
        method="nautilus",
        options={"n_live": 100, "focus": True},
        seed=0,
        converged=False,
        n_calls=0,
        n_eff=12.5,
        pool="serial",
        workers=1,
        notes=Notes(
            maximum=[1.0],
            covariance=[[2.0]],
            maxima=2,
            maxima_shares=[0.6, 0.4],
            maxima_missing=False,
            maxima_left_out=0.25,
            searches=6,
            searches_at_highest=1,
            n_gradients=50,
            focused=False,
            marginalized=["sky.a0"],
            tier="nautilus",
            escalated=["k-hat is 0.90"],
            audit={"logz": -1.0, "reasons": ["ln Z"]},
            extra={"n_bounds": 5},
        ),
    ),
    provenance=Provenance(
        problem_digest="0f",
        params={"row": "{}", "settings": "1e", "socca": "0.2.0"},
        versions={"socca": "0.2.0"},
        host="host",
        cpus=2,
        finished="2026-01-01T00:00:00Z",
        derived="ab",
    ),
    timing=Timing(
        sampling=3.0, likelihood=2.0, compilation=1.0, programs_compiled=0, loading=0.5, total=4.0, extra={"new": 1}
    ),
    image=ImageDescription(
        frame="sky", bunit="nJy", n_pixels=121, pixel_scale=5e-5, shape=(11, 11), zero_point=27.0, extra={"new": [2]}
    ),
    quality=FitQuality(
        chi2_red=1.0,
        chi2_source=1.5,
        n_source=12,
        n_used=121,
        max_log_likelihood=-170.0,
        edge_probability=0.0,
        edge_parameter="star.Ic",
        residual_correlation=0.1,
        light_outside=0.0,
        extra={"new": None},
    ),
    files={"image": InputFile("n1.fits", "ab", 5760, 17, extra={"new": "x"})},
    failure=Failure("took too long", capped={"max_minutes": 1.0}, died=True, unreadable=True),
    extra={"new": {"of": "later"}},
)


def attributes(part, where=""):
    """Yield name, value and default of every attribute of a record and its parts."""
    for one in dataclasses.fields(part):
        value = getattr(part, one.name)
        if dataclasses.is_dataclass(value):
            yield from attributes(value, f"{where}{one.name}.")
        else:
            yield f"{where}{one.name}", value, getattr(type(part)(), one.name)


def test_what_is_written_is_read_again():
    # The record above leaves nothing out that could be lost.
    same = [name for name, value, default in attributes(WHOLE) if value == default]
    assert same == ["version"]
    text = json.dumps(WHOLE.to_dict())
    assert FitRecord.from_dict(json.loads(text), WHOLE.failure.message) == WHOLE
    assert FitRecord.from_dict(json.loads(json.dumps(FitRecord().to_dict()))) == FitRecord()


def test_the_form_on_disk_is_that_of_the_first_version():
    assert WHOLE.to_dict().keys() == {
        *("record_version", "target", "model", "n_data", "doubts"),
        *("method", "options", "seed", "converged", "n_calls", "n_eff", "pool", "workers", "notes"),
        *("problem_digest", "params", "versions", "host", "cpus", "finished", "derived"),
        *("timing", "image", "fit", "files", "capped", "died", "unreadable", "new"),
    }
    assert WHOLE.to_dict()["image"]["shape"] == [11, 11]
    # Whoever reads these by key finds them all, as null where there is no value.
    fit = FitRecord(quality=FitQuality(chi2_red=1.0)).to_dict()["fit"]
    later = {"new", "edge_parameter", "residual_correlation", "light_outside"}
    assert fit == dict.fromkeys(WHOLE.to_dict()["fit"].keys() - later) | {"chi2_red": 1.0}


def test_what_is_not_known_is_not_written():
    failure = FitRecord(target="a", failure=Failure("no PSF"))
    assert failure.to_dict() == {"record_version": RECORD_VERSION, "target": "a"}


def test_missing_keys_and_null_are_what_is_not_known():
    assert FitRecord.from_dict({}) == FitRecord(version=1)
    empty = dict.fromkeys(WHOLE.to_dict().keys() - {"record_version", "new"})
    assert FitRecord.from_dict(empty) == FitRecord(version=1)
    found = FitRecord.from_dict({"timing": {"total": 2}, "fit": {"chi2_red": None}, "files": {"psf": {}}})
    assert found.timing == Timing(total=2.0)
    assert found.quality == FitQuality()
    assert found.files == {"psf": InputFile(size=-1, mtime_ns=-1)}


def test_keys_of_later_versions_are_kept():
    later = WHOLE.to_dict() | {"record_version": 99, "weather": {"seeing": 0.7}}
    later["notes"]["temperature"] = 3
    found = FitRecord.from_dict(later, "took too long")
    assert found.version == 99
    assert found.extra == {"new": {"of": "later"}, "weather": {"seeing": 0.7}}
    assert found.sampler.notes.extra == {"n_bounds": 5, "temperature": 3}
    assert found.to_dict() == later | {"record_version": RECORD_VERSION}


def test_early_names_are_understood():
    assert Notes.from_dict({"map": [1.0, 2.0]}) == Notes(maximum=[1.0, 2.0])
    assert Notes.from_dict({"map": [1.0], "maximum": [2.0]}).maximum == [2.0]


def test_capped_and_died_belong_to_failures():
    meta = {"capped": {"max_memory_mb": 64.0}, "died": True}
    assert FitRecord.from_dict(meta, "large").failure == Failure("large", capped={"max_memory_mb": 64.0}, died=True)
    assert FitRecord.from_dict({}).failure is None


@pytest.mark.parametrize(
    ("meta", "where"),
    [
        ([1, 2], "record: expected a mapping, got list"),
        ({"timing": 3}, "timing: expected a mapping, got int"),
        ({"notes": "none"}, "notes: expected a mapping, got str"),
        ({"files": {"image": "a.fits"}}, "files.image: expected a mapping, got str"),
        ({"fit": {"chi2_red": "low"}}, "fit.chi2_red: expected a number, got str 'low'"),
        ({"fit": {"chi2_red": "1.5"}}, "fit.chi2_red: expected a number, got str '1.5'"),
        ({"fit": {"n_used": True}}, "fit.n_used: expected a whole number, got bool"),
        ({"converged": "no"}, "converged: expected true or false, got str"),
        ({"seed": 1.5}, "seed: expected a whole number, got float 1.5"),
        ({"target": ["a"]}, "target: expected text, got list"),
        ({"notes": {"maxima_shares": [0.5, "half"]}}, "notes.maxima_shares: expected a number, got str 'half'"),
        ({"image": {"shape": [3, None]}}, "image.shape: expected a whole number, got NoneType"),
        ({"n_calls": [1]}, "n_calls: "),
        ({"cpus": float("inf")}, "cpus: "),
        ({"versions": 3}, "versions: "),
        ({"record_version": "two"}, "record_version: "),
    ],
)
def test_values_of_another_kind_are_named(meta, where):
    with pytest.raises(PosteriorError, match=where):
        FitRecord.from_dict(meta)


def test_a_record_cannot_be_changed_through_its_form_on_disk():
    WHOLE.to_dict()["options"]["n_live"] = 7
    assert WHOLE.sampler.options["n_live"] == 100
    with pytest.raises(dataclasses.FrozenInstanceError):
        WHOLE.target = "other"
