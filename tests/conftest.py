"""Fixtures that the whole suite shares: factories of images, PSFs and WCS headers."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from socca.data import Image
from socca.noise import Normal
from socca.utils.xla import use_persistent_cache

# Examples of properties are the same in every run, and kept nowhere; `--hypothesis-profile explore` searches on.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, max_examples=50)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("repeatable")

#: Size of a pixel of the pixel-frame images made here, arcsec.
PIXEL = 0.2


#: Folders and files of the fast tier (`-m fast`): those that compile little or nothing. Within two minutes, they tell
#: whether anything in reading, describing and recording is broken.
FAST = (
    *("parameters", "priors", "posterior/test_record.py", "posterior/test_golden.py"),
    *("data/test_broken_files.py", "data/test_cutout.py", "data/test_frames.py", "data/test_images.py"),
    *("data/test_maps.py", "data/test_mask_arrays.py", "data/test_properties.py", "data/test_psf.py"),
    *("data/test_region_files.py", "data/test_regions.py", "data/test_survey_masks.py"),
    *("data/test_bit_planes.py", "data/test_hdu_names.py", "data/test_nddata.py", "data/test_stored_values.py"),
    "data/test_wcs_headers.py",
    *("models/test_registry.py", "noise/test_arguments.py", "likelihood/test_quadrature.py"),
    *(
        "fitting/plausibility",
        "samplers/test_student.py",
        "samplers/test_lockstep.py",
        "plotting/test_corner.py",
        "test_interfaces.py",
    ),
    *("survey/config", "survey/test_catalog.py", "survey/test_chunks.py", "survey/test_flags.py"),
    *("survey/freshness/test_likelihood_revision.py", "survey/freshness/test_reasons_to_fit.py"),
    *("survey/test_status.py", "survey/test_targets.py", "utils/test_tags.py", "utils/test_statistics.py"),
)


#: Folders and files of the thorough tier (`-m thorough`): many cases of what the default tests try once, whole surveys,
#: clusters, and processes that are killed. `.ci/run` runs part of it.
THOROUGH = (
    *("data/test_buckets.py", "data/test_finer_sampling.py", "data/test_large_files.py", "fitting/test_dump.py"),
    *("fitting/test_null_evidence.py", "likelihood/test_band_limited.py", "likelihood/test_render_gradients.py"),
    *("likelihood/test_render_profiles.py", "noise/test_registry.py", "pool/test_fit_command.py"),
    *("pool/test_launchers.py", "pool/test_published_mpi.py", "pool/test_published_pools.py"),
    *("pool/test_worker_errors.py", "samplers/test_checkpoints.py", "samplers/maxima"),
    *("samplers/test_pocomc.py", "simulation/test_calibration.py", "simulation/test_pulls.py", "slurm"),
    *("survey/jobs/test_killed_surveys.py", "survey/test_opened_once.py", "survey/test_plugins.py"),
    *("survey/jobs/test_supervisor.py", "workflow/test_braces.py", "workflow/test_chunked.py"),
)


def pytest_configure(config):
    """Make the cache before processes of xdist start, which would race for it in a fresh clone."""
    if not hasattr(config, "workerinput"):
        config.cache.mkdir("programs")


def pytest_collection_modifyitems(items):
    """Mark the tiers, and begin with whole surveys: at the end, one core would wait for another."""
    here = Path(__file__).parent
    for tier, places in {"fast": FAST, "thorough": THOROUGH}.items():
        folders = [here / place for place in places]
        for item in items:
            if any(item.path.is_relative_to(place) for place in folders) and not item.get_closest_marker("slow"):
                item.add_marker(tier)
    items.sort(key=lambda item: item.path.parent.name not in ("workflow", "slurm"))


@pytest.fixture(scope="session", autouse=True)
def cache_of_programs(pytestconfig):
    """Share what is compiled, with the processes that tests start and with later runs (`--cache-clear` forgets it)."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SOCCA_CACHE", str(pytestconfig.cache.mkdir("programs")))
        use_persistent_cache()
        yield


@pytest.fixture(scope="session")
def pixel():
    """Size of a pixel, degrees."""
    return PIXEL / 3600


@pytest.fixture(scope="session")
def make_image():
    """Give a function that makes images: zeros in a pixel frame with sigma = 1, unless told otherwise."""

    def make(data=None, *, shape=(31, 31), psf=None, header=None, **kwargs):
        from astropy.io import fits

        kwargs.setdefault("noise", Normal(sigma=1.0))
        plane = np.zeros(shape) if data is None else np.asarray(data, float)
        if header is None:
            image = Image(plane, pixel_scale=PIXEL, **kwargs)
        else:
            image = Image(fits.PrimaryHDU(plane, header), **kwargs)
        if psf is not None:
            image.addpsf(psf)
        return image

    return make


@pytest.fixture(scope="session")
def make_psf():
    """Give a function that makes PSFs: a Gaussian at the centre of the array, or an asymmetric one."""

    def make(shape=(9, 9), sigma=1.3, skewed=False):
        row, col = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
        psf = np.exp(-0.5 * (row**2 + col**2) / sigma**2)
        if skewed:
            psf = psf + 0.4 * np.exp(-0.5 * ((row - 1.5 * sigma) ** 2 + (col + 0.8 * sigma) ** 2) / sigma**2)
        return psf / psf.sum()

    return make


@pytest.fixture(scope="session")
def make_header():
    """Give a function that makes FITS headers with a TAN (or TAN-SIP) projection."""

    def make(shape=(31, 31), *, ra=150.0, dec=2.0, rotation=0.0, scale=PIXEL, mirrored=False, sip=0.0, offset=(0, 0)):
        """Put `ra, dec` (deg) at `offset` pixels from the centre; `sip` is a distortion, pixels at 100 pixels."""
        from astropy.io import fits

        header = fits.Header()
        cos, sin = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
        axes = np.diag([scale / 3600 if mirrored else -scale / 3600, scale / 3600])
        cd = np.array([[cos, -sin], [sin, cos]]) @ axes
        for axis, (kind, value) in enumerate([("RA---TAN", ra), ("DEC--TAN", dec)], 1):
            header[f"CTYPE{axis}"] = kind + ("-SIP" if sip else "")
            header[f"CRVAL{axis}"] = value
            header[f"CRPIX{axis}"] = (shape[2 - axis] + 1) / 2 + offset[2 - axis]
            header[f"CUNIT{axis}"] = "deg"
            for other in (1, 2):
                header[f"CD{axis}_{other}"] = cd[axis - 1, other - 1]
        header["RADESYS"] = "ICRS"
        if sip:
            for letter, terms in [("A", {(2, 0): 1.0, (1, 1): -0.6, (0, 2): 0.3}), ("B", {(0, 2): 0.8, (1, 1): 0.5})]:
                header[f"{letter}_ORDER"] = 2
                for (p, q), value in terms.items():
                    header[f"{letter}_{p}_{q}"] = value * sip / 1e4
        return header

    return make


@pytest.fixture
def config_data():
    """Return a small valid config, as YAML gives it: a disk, a bulge tied to it, and a sky. A fresh copy each."""
    return {
        "survey": "small",
        "targets": "targets.csv",
        "image": {"pixel_scale": "0.2 arcsec"},
        "models": {
            "galaxy": {
                "components": {
                    "disk": {
                        "type": "Exponential",
                        "position": {"within": "1 arcsec"},
                        "theta": {"uniform": [0, "180 deg"]},
                        "e": 0.3,
                        "rs": {"loguniform": ["0.4 arcsec", "2 arcsec"]},
                        "Is": {"loguniform": [1, 100]},
                    },
                    "bulge": {
                        "type": "Sersic",
                        "position": "disk",
                        "re": "disk.rs * 0.2",
                        "Ie": "2 * disk.Is",
                        "ns": 2,
                    },
                    "sky": {"type": "Background", "a0": {"normal": [0, 1]}},
                }
            }
        },
        "sampler": {"method": "optimizer", "options": {"n_draws": 100}},
    }


@pytest.fixture
def write_fits():
    """Give a function that writes a plane to a FITS file, with a header or without."""

    def write(path, plane, header=None):
        from astropy.io import fits

        fits.PrimaryHDU(np.asarray(plane), header).writeto(path, overwrite=True)
        return path

    return write
