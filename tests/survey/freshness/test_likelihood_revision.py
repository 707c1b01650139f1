"""What was fitted by an earlier version of socca, and what a change of the likelihood fits again."""

import hashlib
import json

import pytest
import yaml

from socca.likelihood import revision
from socca.likelihood.revision import LIKELIHOOD_REVISION, migrated, stated
from socca.posterior.record import FitRecord, Provenance
from socca.survey import survey as survey_module
from socca.survey.chunks import Chunk
from socca.survey.freshness.input_files import described, file_state
from socca.survey.freshness.reasons import reason_to_fit
from socca.survey.survey import Survey

#: What socca 0.2.0 recorded of a fit, as far as freshness looks at it (but its files, which are made here).
ROW, SETTINGS = '{"image": "n0.fits", "target": "T0"}', "f5c1562dd38d0ec2"
PARAMS = {"row": ROW, "settings": SETTINGS, "socca": "0.2.0"}
#: And the config of that survey.
CONFIG = """
survey: mine
targets: t.csv
image: {pixel_scale: 0.2 arcsec}
noise: {level: 1}
models:
  g:
    components:
      blob: {type: Gaussian, xc: 0, yc: 0, rs: 0.4 arcsec, Is: {uniform: [0, 200]}}
      sky: {type: Background, a0: {normal: [0, 1]}}
sampler: {method: optimizer}
outputs: {model_images: none, figures: none}
"""


@pytest.fixture
def make_survey(tmp_path):
    (tmp_path / "t.csv").write_text("target,image\nT0,n0.fits\n")
    (tmp_path / "n0.fits").write_text("an image")

    def make(**changes):
        config = yaml.safe_load(CONFIG) | {"output": str(tmp_path / "results")} | changes
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
        return Survey.load(tmp_path / "mine.yaml")

    return make


@pytest.fixture
def reason(make_survey):
    """Give a function that says why the target has to be fitted, if its result has these params."""
    survey = make_survey()
    files = survey.files("T0")

    def why(**params):
        record = FitRecord(provenance=Provenance(params=params), files=described(files))
        return reason_to_fit(record, files, survey.fit_params("T0", "g"))

    return why


@pytest.fixture
def raised(monkeypatch):
    """Raise the revision of the likelihood."""
    for module in (revision, survey_module):
        monkeypatch.setattr(module, "LIKELIHOOD_REVISION", LIKELIHOOD_REVISION + 1)


def test_what_the_version_before_revisions_finished_is_up_to_date(reason):
    assert reason(**PARAMS) == ""


def test_older_versions_had_another_likelihood(reason):
    for version in ("0.1.0", "0.1.4", "0.1.99"):
        assert reason(**PARAMS | {"socca": version}) == f"the likelihood has changed since socca {version}"


def test_a_result_states_the_revision_and_not_the_version(make_survey, reason, monkeypatch):
    params = make_survey().fit_params("T0", "g")
    assert params == {"row": ROW, "settings": SETTINGS, "likelihood": LIKELIHOOD_REVISION}
    monkeypatch.setattr("socca.__version__", "99.0")
    assert make_survey().fit_params("T0", "g") == params
    assert reason(**params) == ""
    assert reason(**params | {"likelihood": LIKELIHOOD_REVISION + 1}) == "the likelihood has changed"
    assert reason(row=ROW, settings=SETTINGS) == "the likelihood has changed"


@pytest.mark.usefixtures("raised")
def test_another_revision_is_a_reason(reason):
    assert reason(**PARAMS) == "the likelihood has changed since socca 0.2.0"
    assert reason(row=ROW, settings=SETTINGS, likelihood=LIKELIHOOD_REVISION) == "the likelihood has changed"
    assert reason(row=ROW, settings=SETTINGS, likelihood=LIKELIHOOD_REVISION + 1) == ""


def test_other_reasons_are_told_first(reason):
    assert reason(**PARAMS | {"row": "{}", "socca": "0.1.0"}) == "its row of the table has changed: target"


def test_migration_leaves_what_states_a_revision_alone():
    assert migrated({"likelihood": 5}) == {"likelihood": 5}
    assert migrated({"likelihood": 5, "socca": "0.2.0"}) == {"likelihood": 5}
    assert migrated(PARAMS) == {"row": ROW, "settings": SETTINGS, "likelihood": 1}
    assert migrated({}) == {}


def test_snakemake_reads_what_it_read_before(make_survey):
    # It compares the text of what the rule is given.
    assert repr(make_survey().stated_params("T0", "g")) == repr(PARAMS)


@pytest.mark.usefixtures("raised")
def test_snakemake_is_told_of_another_revision(make_survey):
    assert stated() == {"likelihood": LIKELIHOOD_REVISION + 1}
    assert make_survey().stated_params("T0", "g") == {
        "row": ROW,
        "settings": SETTINGS,
        "likelihood": LIKELIHOOD_REVISION + 1,
    }


def stamp_of(survey, params):
    """Return the state of the only chunk, if its fit had these params."""
    digest = hashlib.sha256(json.dumps({"max_minutes": None, "max_memory_mb": None}).encode())
    files = {"image": file_state(survey.target("T0").files["image"])}
    digest.update(json.dumps(["T0", params, files]).encode())
    return digest.hexdigest()[:16]


def test_the_stamp_of_a_chunk_states_what_the_version_before_did(make_survey):
    survey = make_survey(batch={"chunk": 2})
    assert survey.state(Chunk("g", 0, 1)) == stamp_of(survey, PARAMS)


@pytest.mark.usefixtures("raised")
def test_the_stamp_of_a_chunk_changes_with_the_revision(make_survey):
    survey = make_survey(batch={"chunk": 2})
    assert survey.state(Chunk("g", 0, 1)) != stamp_of(survey, PARAMS)
