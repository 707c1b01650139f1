"""Noise models in a config."""

import copy
import logging

import numpy as np
import pytest

from socca.errors import ConfigError, DataError
from socca.noise import NormalCorrelated, NormalRI, Poisson, StudentT
from socca.priors import loguniform
from socca.survey.config.build_image import build_image
from socca.survey.config.build_model import build_problem
from socca.survey.config.schema import validate_config
from socca.survey.targets import from_columns
from tests.noise.cases import COVARIANCE, SHAPE, SIGMA, WINDOW, spectrum


@pytest.fixture
def build(tmp_path, config_data, write_fits):
    """Give a function that builds an image from a noise section and one row with the given columns."""

    def make(noise, data=None, what="image", **columns):
        settings = copy.deepcopy(config_data) | {"noise": noise, "targets": str(tmp_path / "targets.csv")}
        config = validate_config(settings, "survey.yaml")
        rng = np.random.default_rng(2)
        write_fits(tmp_path / "image.fits", rng.poisson(3.0, SHAPE) if data is None else data)
        row = {"target": "t", "image": "image.fits", **columns}
        for key, value in columns.items():
            if isinstance(value, np.ndarray):
                row[key] = write_fits(tmp_path / f"{key}.fits", value).name
        target = from_columns({key: [value] for key, value in row.items()}, tmp_path, "table")["t"]
        image = build_image(target, config)
        return image if what == "image" else build_problem("galaxy", target, config, image)[0]

    return make


def test_kinds_of_the_config(build, tmp_path, write_fits, caplog):
    image = build({"kind": "studentt", "parameters": {"nu": 3, "scale": {"loguniform": [0.5, 2]}}}, sigma=SIGMA)
    assert isinstance(image.noise, StudentT)
    assert (image.noise.nu, image.noise.scale) == (3.0, loguniform(0.5, 2))
    np.testing.assert_array_equal(image.noise.sigma(image), SIGMA)
    image = build({"kind": "studentt", "level": "2 * $rms"}, rms=1.5)
    np.testing.assert_array_equal(image.noise.sigma(image), 3.0)
    with caplog.at_level(logging.INFO):
        image = build({"kind": "poisson", "parameters": {"background": "$sky / 2"}}, sky=3.0, sigma=SIGMA)
    assert isinstance(image.noise, Poisson)
    assert image.noise.background == 1.5
    assert "poisson noise does not use" in caplog.text
    write_fits(tmp_path / "cov.fits", COVARIANCE)
    write_fits(tmp_path / "power.fits", spectrum(SHAPE))
    write_fits(tmp_path / "cube.fits", np.random.default_rng(1).normal(0, 1, (99, *SHAPE)))
    write_fits(tmp_path / "window.fits", WINDOW)
    image = build({"kind": "normal_correlated", "covariance": "cov.fits", "parameters": {"scale": 2}})
    np.testing.assert_allclose(image.noise.sigma(image).ravel(), np.sqrt(np.diag(COVARIANCE)))
    assert image.noise.scale == 2
    assert isinstance(build({"kind": "normal_correlated", "cube": str(tmp_path / "cube.fits")}).noise, NormalCorrelated)
    noise = {
        "kind": "normal_fourier",
        "inverse_covariance": "power.fits",
        "ftype": "full",
        "apodization": "window.fits",
    }
    image = build(noise)
    np.testing.assert_array_equal(image.noise.prepare(image).apod, np.float64(WINDOW))
    assert isinstance(build({"kind": "normal_ri", "level": 0.3}).noise, NormalRI)


def test_noise_of_the_config_is_fitted(build):
    noise = {"parameters": {"scale": {"loguniform": [0.5, 2]}, "floor": "noise.scale * 0.1"}}
    problem = build(noise, what="problem", sigma=SIGMA)
    assert problem.labels[-1] == "noise.scale"
    assert "noise_floor" not in problem.names


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ({"kind": "normall"}, "noise.kind: unknown noise model 'normall'; did you mean 'normal'"),
        ({"parameters": {"scael": 1}}, "noise: normal has no parameter 'scael'; did you mean 'scale'"),
        ({"parameters": {"scale": {"unifrom": [1, 2]}}}, "noise.parameters.scale: unknown prior 'unifrom'"),
        ({"kind": "poisson", "level": 2}, "noise: poisson has no use for 'level'"),
        ({"covariance": "a.fits"}, "noise: normal has no use for 'covariance'; it takes level"),
        ({"kind": "normal_correlated"}, "noise: normal_correlated needs one of covariance, inverse_covariance, cube"),
        ({"kind": "normal_fourier", "covariance": "a", "cube": "b"}, "normal_fourier needs one .*got covariance, cube"),
        ({"kind": "normal_correlated", "cube": "a", "apodization": "b"}, "has no use for 'apodization'"),
        ({"kind": "normal_correlated", "cube": "a", "ftype": "full"}, "has no use for 'ftype'"),
        ({"kind": "normal_fourier", "cube": "a", "ftype": "reel"}, "noise.ftype: .*'real' or 'full'"),
        ({"parameters": {"scale": 0}}, "noise.parameters.scale: Normal: scale = 0 lies outside"),
        ({"parameters": {"floor": "disk.Is"}}, "noise.parameters.floor: 'disk.Is' is no parameter of the noise"),
        ({"parameters": {"floor": "$skyy"}}, r"noise.parameters.floor: \$skyy"),
        ({"kind": "normal_correlated", "covariance": "$SOCCA_NOT_SET/a.fits"}, "noise.covariance: .*not set"),
    ],
)  # fmt: skip
def test_mistakes_in_a_config_are_named(build, noise, said, monkeypatch):
    monkeypatch.delenv("SOCCA_NOT_SET", raising=False)
    with pytest.raises(ConfigError, match=said):
        build(noise, sigma=SIGMA)


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ({"kind": "normal_correlated", "covariance": "none.fits"}, "covariance: no such file: .*none.fits"),
        ({"kind": "normal_correlated", "cube": "none.fits"}, "cube: no such file: .*none.fits"),
    ],
)
def test_missing_files_are_named(build, noise, said):
    with pytest.raises(DataError, match=said):
        build(noise)
