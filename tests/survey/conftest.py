"""Fixtures that tests of surveys share."""

import pytest
import yaml

from socca.survey.survey import Survey
from tests.survey.skies import NAMES, write_image


@pytest.fixture
def make_survey(tmp_path):
    """Give a function that writes a survey of five skies, one of them without an image, and loads it."""

    def make(names=NAMES, *, missing="c", **changes):
        for k, name in enumerate(names):
            if name != missing and not (tmp_path / f"{name}.fits").exists():
                write_image(tmp_path, name, k + 1.0, 40 if name == "e" else 6)
        (tmp_path / "targets.csv").write_text("target,image\n" + "".join(f"{name},{name}.fits\n" for name in names))
        config = {
            "survey": "skies",
            "targets": "targets.csv",
            "output": str(tmp_path / "results"),
            "image": {"pixel_scale": "0.2 arcsec"},
            "noise": {"level": 1},
            "models": {"sky": {"components": {"sky": {"type": "Background", "a0": {"normal": [0, 10]}}}}},
            "sampler": {"method": "optimizer", "options": {"n_draws": 20, "n_starts": 1, "n_samples": 50}},
            "batch": {"chunk": 10},
            "outputs": {"model_images": "none", "figures": "none"},
        } | changes
        (tmp_path / "survey.yaml").write_text(yaml.safe_dump(config))
        return Survey.load(tmp_path / "survey.yaml")

    return make
