"""Model images and figures of a chunk's flagged fits."""

import json

import pytest
from astropy.io import fits

from socca.survey.jobs.chunk_products import draw_chunk
from tests.survey.skies import ONE, run, write_image


def test_images_and_figures_of_flagged_fits_only(make_survey, tmp_path):
    outputs = {"model_images": "all", "figures": "flagged"}
    changes = {"missing": "", "outputs": outputs, "flags": {"poor_fit": 50.0}}
    write_image(tmp_path, "b", 5.0)
    data = fits.getdata(tmp_path / "b.fits")
    data[:3] *= 30
    fits.writeto(tmp_path / "b.fits", data, overwrite=True)
    survey = make_survey(["a", "b"], **changes)
    run(survey, tmp_path)
    assert draw_chunk(survey, ONE) == 2
    images = {name: survey.path(name, "sky", "model.fits") for name in "ab"}
    figures = {name: survey.path(name, "sky", "comparison.png") for name in "ab"}
    assert fits.getheader(images["a"])["STATUS"] == "done"
    assert figures["b"].exists()
    assert not figures["a"].exists()

    times = {path: path.stat().st_mtime_ns for path in (*images.values(), figures["b"])}
    assert draw_chunk(survey, ONE) == 2
    assert {path: path.stat().st_mtime_ns for path in times} == times
    figures["b"].unlink()
    draw_chunk(survey, ONE)
    assert figures["b"].exists()

    # Other looks: the figure alone; flags that spare b: no figure; images of none: nothing at all.
    draw_chunk(make_survey(["a", "b"], **changes, plots={"format": "pdf"}), ONE)
    assert figures["b"].with_suffix(".pdf").exists()
    assert not figures["b"].exists()
    assert images["b"].stat().st_mtime_ns == times[images["b"]]
    draw_chunk(make_survey(["a", "b"], **changes | {"flags": {"poor_fit": 1e9}}), ONE)
    assert not figures["b"].with_suffix(".pdf").exists()
    draw_chunk(make_survey(["a", "b"], **changes | {"outputs": {"model_images": "none", "figures": "none"}}), ONE)
    assert not any(path.exists() for path in images.values())


#: Damaged lists; those of the default tests first.
LISTED = [
    json.dumps({"style": {"format": "png"}, "fits": {"../../../mine": {"figure": True}, "": {}, "/": {}}}),
    *("[", '{"style": {"format": "../../x"}, "fits": {}}'),
    *("", "[]", "3", '{"style": 3, "fits": {}}', '{"style": {}, "fits": []}', '{"style": {"format": 3}}'),
    *('{"fits": {"a": 3}}', "[" * 100_000),
]


@pytest.mark.parametrize(
    "listed",
    [*LISTED[:3], *(pytest.param(listed, marks=pytest.mark.thorough) for listed in LISTED[3:])],
    ids=[listed[:40] for listed in LISTED],
)
def test_a_damaged_list_of_what_was_drawn_deletes_nothing_else(make_survey, tmp_path, listed):
    survey = make_survey(["a"], missing="")
    run(survey, tmp_path)
    folder = survey.config.folder
    mine = [tmp_path / "mine" / "sky" / name for name in ("model.fits", "comparison.png")]
    for path in (*mine, folder / "fits" / "sky" / "model.fits"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    ONE.path(folder).with_suffix(".drawn.json").write_text(listed)
    assert draw_chunk(survey, ONE) == 0
    assert all(path.read_text() == "mine" for path in (*mine, folder / "fits" / "sky" / "model.fits"))
    assert json.loads(ONE.path(folder).with_suffix(".drawn.json").read_text())["fits"] == {}
