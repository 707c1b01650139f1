"""Results that earlier versions wrote are read as they were; ``tests/reference/make_golden.py`` made them."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from socca.errors import PosteriorError
from socca.likelihood.revision import migrated
from socca.posterior import Posterior
from socca.posterior.container import read_headers, write_container
from socca.posterior.record import RECORD_VERSION, FitRecord
from socca.posterior.storage import ResultLocation, header_of, open_result
from socca.survey.catalog import build_catalog
from socca.survey.catalog_units import DefaultUnits
from socca.survey.chunks import Chunk
from socca.survey.freshness.reasons import reason_to_fit

FOLDER = Path(__file__).parent / "golden"
VERSIONS = sorted(int(path.name.removeprefix("v")) for path in FOLDER.iterdir())
ARCSEC = 1 / 3600
#: Of each fit of the container: method, flags, whether it converged, and what its sampler alone notes.
DONE = {
    "modes": ("nautilus", "poor_fit,multimodal", True, {"n_bounds", "unfocused_in_run"}),
    "dynesty": ("dynesty", "", True, {"n_iterations", "information", "unfocused_in_run"}),
    "emcee": ("emcee", "not_converged", False, {"autocorrelation_time", "n_steps", "acceptance"}),
    "numpyro": ("numpyro", "at_prior_edge,not_converged", False, {"chains", "rhat", "ess", "divergences"}),
    "maximum": ("optimizer", "", True, {"starts_at_maximum", "evidence"}),
    "marginal": ("optimizer", "", True, {"starts_at_maximum", "evidence"}),
}
#: What says of which likelihood a result is, up to version 2 and since.
REVISION = ("socca", "likelihood")
#: Of each fit that failed: its message, limits that it exceeded, and whether its process died.
FAILED = {
    "timeout": (r"took longer than 0\.25 minutes \(batch\.max_minutes\)", {"max_minutes": 0.25}, False),
    "memory": (r"took \d+ MB, more than 64 \(batch\.max_memory_mb\)", {"max_memory_mb": 64.0}, False),
    "dies": (r"its process was killed by signal 9: out of memory\?", {}, True),
    "broken": (r"image: cannot read broken\.fits: Empty or corrupt FITS file", {}, False),
}


@pytest.fixture(params=VERSIONS, ids=lambda version: f"v{version}")
def version(request):
    return request.param


@pytest.fixture
def golden(version, tmp_path):
    """Give a function that returns the path of a result by its name, where the survey would have it."""
    names = {"chunk": Chunk("star", 0, 1).path(tmp_path)}

    def path(name):
        found = names.get(name, tmp_path / f"{name}.h5")
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_bytes(gzip.decompress((FOLDER / f"v{version}" / f"{name}.h5.gz").read_bytes()))
        return found

    return path


def test_there_are_results_of_the_version_that_is_written():
    assert list(range(1, RECORD_VERSION + 1)) == VERSIONS


def test_a_result_of_a_job(golden, version):
    posterior = Posterior.load(golden("alone"))
    assert posterior.labels == ["star.xc", "star.Ic"]
    assert posterior.units == ["deg", "image"]
    assert list(posterior.derived) == ["sky.a0"]
    assert posterior.fixed["star.yc"] == 0
    assert posterior.samples.shape == (11, 2)
    assert posterior.best == pytest.approx([-0.00010939155524061427, 54.57894029137472], rel=1e-12)
    assert posterior.logz == pytest.approx(-175.68743561046313, abs=1e-9)
    record = posterior.record
    assert (record.version, record.target, record.model, record.n_data) == (version, "maximum", "star", 121)
    assert record.failure is None
    assert record.extra == {}

    sampler = record.sampler
    assert sampler.method == "optimizer"
    assert sampler.options == {"objective": "map", "n_draws": 50, "n_starts": 2, "maxiter": 300, "n_samples": 10}
    assert (sampler.seed, sampler.converged, sampler.n_calls) == (435948308, True, 74)
    assert sampler.n_eff == pytest.approx(11)
    assert (sampler.pool, sampler.workers) == ("serial", 1)
    assert sampler.notes.maximum == pytest.approx(list(posterior.best))
    assert np.shape(sampler.notes.covariance) == (2, 2)
    assert (sampler.notes.maxima, sampler.notes.maxima_shares) == (1, [1.0])
    assert (sampler.notes.searches, sampler.notes.searches_at_highest, sampler.notes.n_gradients) == (2, 2, 25)
    assert sampler.notes.extra == {"starts_at_maximum": 2, "evidence": "Laplace"}

    image, quality = record.image, record.quality
    assert (image.frame, image.bunit, image.n_pixels, image.shape) == ("pixel", "nJy", 121, (11, 11))
    assert image.pixel_scale == pytest.approx(0.2 * ARCSEC)
    assert quality.chi2_red == pytest.approx(0.9792105741926861, rel=1e-9)
    assert quality.chi2_source == pytest.approx(0.6636154255136409, rel=1e-9)
    assert (quality.n_source, quality.n_used, quality.edge_probability) == (13, 121, 0.0)
    assert quality.max_log_likelihood == pytest.approx(-169.45459168223022, abs=1e-9)

    provenance = record.provenance
    assert len(provenance.problem_digest) == 64
    assert json.loads(provenance.params["row"]) == {"image": "maximum.fits", "psf": "psf.fits", "target": "maximum"}
    assert provenance.params.keys() == {"row", "settings", REVISION[version >= 3]}
    assert {"python", "socca", "jax", "numpy"} <= provenance.versions.keys()
    assert (provenance.host, provenance.cpus) == ("host", 2)
    assert provenance.finished.startswith("20")
    files = record.files
    assert {role: (file.path, file.size) for role, file in files.items()} == {
        "image": ("maximum.fits", 5760),
        "psf": ("psf.fits", 5760),
    }
    assert all(len(file.sha256) == 64 and file.mtime_ns > 0 for file in files.values())
    timing = record.timing
    assert 0 < timing.likelihood <= timing.sampling <= timing.total
    assert timing.loading < timing.total
    assert timing.compilation > 0
    assert timing.programs_compiled > 0


def test_a_result_of_a_script(golden, version):
    posterior = Posterior.load(golden("script"))
    assert posterior.labels == ["comp_00_xc", "comp_00_Ic"]
    assert posterior.logz == pytest.approx(-175.43618354497602, abs=1e-9)
    # Every draw from this prior is possible.
    assert posterior.logz_prior == 0
    assert posterior.logz_prior_err < 1e-3
    assert posterior.logz_data < posterior.logz
    record = posterior.record
    assert (record.target, record.model, record.files) == ("", "", {})
    assert (record.sampler.seed, record.n_data, record.image.n_pixels) == (3, 121, 121)
    assert record.timing.total is None
    # The goodness of fit is in results of scripts since version 2.
    assert (record.quality.chi2_red is None) is (version == 1)
    assert posterior.bic() - posterior.aic() == pytest.approx(2 * (np.log(121) - 2))
    assert posterior.to_table().meta["seed"] == 3


def test_a_failure_of_a_job(golden, version):
    path = golden("failed")
    message, capped, died = FAILED["broken"]
    with pytest.raises(PosteriorError, match=f"the fit failed: {message}"):
        Posterior.load(path)
    with open_result(path) as group:
        record = header_of(group).record
    assert (record.target, record.model) == ("broken", "star")
    assert (record.failure.capped, record.failure.died) == (capped, died)
    assert record.files["image"].size == 2000
    assert record.provenance.params.keys() == {"row", "settings", REVISION[version >= 3]}
    assert record.provenance.finished.startswith("20")
    assert record.timing.total > 0
    assert record.sampler == FitRecord().sampler


def test_a_container(golden, version):
    headers = read_headers(golden("chunk"))
    assert list(headers) == [*DONE, *FAILED]
    for target, (method, _, converged, own) in DONE.items():
        record = headers[target].record
        assert (headers[target].status, headers[target].message) == ("done", "")
        assert record.target == target
        assert record.sampler.method == method
        assert record.sampler.converged is converged
        assert record.sampler.notes.extra.keys() == own, target
        derived = ["star.flux"] if version >= 3 else []
        assert [row["label"] for row in headers[target].summary] == ["star.xc", "star.Ic", "sky.a0", *derived]
    notes = {target: headers[target].record.sampler.notes for target in DONE}
    assert notes["modes"].maxima == 2
    assert notes["modes"].maxima_shares == pytest.approx([0.5, 0.5], abs=0.05)
    assert notes["modes"].maxima_missing is False
    assert notes["modes"].focused is True
    assert notes["emcee"].focused is None
    assert notes["marginal"].marginalized == ["star.Ic"]
    for target, (message, capped, died) in FAILED.items():
        failure = headers[target].record.failure
        assert headers[target].status == "failed"
        assert (failure.capped, failure.died) == (capped, died)
        with pytest.raises(PosteriorError, match=message):
            Posterior.load(golden("chunk"), target)


def test_failures_are_tried_again_for_the_same_reasons(golden):
    reasons = {}
    for target in FAILED:
        record = read_headers(golden("chunk"))[target].record
        # Its files are not here: without them, what is left to compare is how it failed.
        record = FitRecord(provenance=record.provenance, failure=record.failure)
        more = {"max_minutes": 1.0, "max_memory_mb": 64.0}
        reasons[target] = reason_to_fit(record, {}, migrated(record.provenance.params), more)
    assert reasons == {
        "timeout": "more than before of max_minutes",
        "memory": "",
        "dies": "its process had died",
        "broken": "",
    }


def test_the_catalogue_is_as_it_was(golden, version):
    path = golden("chunk")
    expected = Table.read(FOLDER / f"v{version}" / "catalog.ecsv")
    fits = [(target, "star", ResultLocation(path, target)) for target in [*DONE, *FAILED]]
    # Later versions have other units, unless they are asked for those.
    units = DefaultUnits() if version >= 3 else DefaultUnits(lengths="deg", angles="rad")
    found = build_catalog(fits, units=units)
    flags = dict(zip(found["target"], found["flag_names"], strict=True))
    # Few samples are asked for, to be quick; earlier versions did not flag that, nor fits that failed.
    assert {target: set(flags[target].split(",")) - {"few_samples", ""} for target in DONE} == {
        target: set(flags.split(",")) - {""} for target, (_, flags, _, _) in DONE.items()
    }
    assert all("failed" in flags[target] for target in FAILED)
    assert {target for target in FAILED if "capped" in flags[target]} == {"timeout", "memory"}
    assert list(found["status"]) == ["done"] * len(DONE) + ["failed"] * len(FAILED)
    # Later versions may have more columns, and no fewer.
    assert set(expected.colnames) <= set(found.colnames)
    for name in set(expected.colnames) - {"flags", "flag_names"}:
        here, there = found[name], expected[name]
        mask = np.ma.getmaskarray(here)
        if here.dtype.kind == "U":  # for which an empty text is a blank
            assert [str(x) for x in here] == ["" if x is np.ma.masked else str(x) for x in there], name
        else:
            assert np.array_equal(mask, np.ma.getmaskarray(there)), name
            assert np.array_equal(np.asarray(here)[~mask], np.asarray(there)[~mask]), name


def test_nothing_in_a_record_is_lost(golden):
    """Whatever the file says is in the record too, and written again by the same key."""
    for name in ("alone", "script", "failed"):
        with open_result(golden(name)) as group:
            written = json.loads(group.attrs["meta"])
            assert header_of(group).record.to_dict() == written | {"record_version": RECORD_VERSION}


def test_results_are_gathered_with_those_of_this_version(golden, tmp_path):
    path = golden("chunk")
    before = read_headers(path)
    write_container(
        tmp_path / "new.h5", {"modes": ResultLocation(path, "modes"), "broken": ResultLocation(golden("failed"))}
    )
    after = read_headers(tmp_path / "new.h5")
    assert after["modes"].record.to_dict() == before["modes"].record.to_dict()
    assert after["modes"].summary == before["modes"].summary
    assert np.array_equal(Posterior.load(tmp_path / "new.h5", "modes").samples, Posterior.load(path, "modes").samples)
    assert after["broken"].message == before["broken"].message
