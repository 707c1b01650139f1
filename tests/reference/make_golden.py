"""Make the results of ``tests/posterior/golden/v<N>``, with the code of one version of socca.

They are kept so that later versions still read them. Only the published interface is used, which all versions share:
the command line, `socca.fitter` and `fitter.dump`. ``v1`` was made by the last code without a version in its records.
A new folder is made when the format of the records changes; those that are there are never made again.

Run it with the checkout of that version first in the path:
``PYTHONPATH=<checkout> python tests/reference/make_golden.py tests/posterior/golden/v<N>``. It takes some minutes.

The files, gzipped, are ``script.h5`` (`fitter.dump`), ``alone.h5`` and ``failed.h5`` (jobs of their own) and
``chunk.h5`` (a container: a fit of each sampler, and fits that failed in each way there is). ``catalog.ecsv`` is the
catalogue of the container.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from astropy.io import fits

#: Run by every process: results say on which host they were made, and no more than that is to be known of it.
CUSTOM = """
import os, platform, resource
platform.node = lambda: "host"
if os.environ.get("CPU_SECONDS"):
    resource.setrlimit(resource.RLIMIT_CPU, (int(os.environ["CPU_SECONDS"]),) * 2)
"""
FEW = {"n_draws": 50, "n_starts": 2}
ENDLESS = {"method": "emcee", "options": {"n_eff": 10_000_000, "max_steps": 1_000_000}}
#: Of each target that is fitted, whatever becomes of it.
SAMPLERS = {
    "modes": {"method": "nautilus", "options": {"n_live": 30, "n_eff": 20, "n_batch": 16, "n_shell": 8}},
    "dynesty": {"method": "dynesty", "options": {"nlive": 20, "dlogz": 5.0}},
    "emcee": {"method": "emcee", "options": {"n_eff": 10, "max_steps": 40, "nwalkers": 4}},
    "numpyro": {"method": "numpyro", "options": {"num_warmup": 50, "num_samples": 20, "num_chains": 1}},
    "maximum": {"method": "optimizer", "options": {"n_samples": 10, **FEW}},
    "marginal": {"method": "optimizer", "marginalize": True, "options": {"n_samples": 10, **FEW}},
    **dict.fromkeys(("timeout", "memory", "dies"), ENDLESS),
}
MODEL = {
    "components": {
        "star": {
            "type": "Point",
            "xc": {"uniform": ["-1 arcsec", "1 arcsec"]},
            "yc": 0,
            "Ic": {"uniform": [0, 100]},
        },
        "sky": {"type": "Background", "a0": "star.Ic / 1000"},
    }
}


def write_targets(folder: Path) -> None:
    """Write an image for each target: a star, or what makes its fit a flagged one; of ``broken``, the beginning."""
    y, x = np.mgrid[:11, :11] - 5.0
    shape = {"dynesty": 2.0}  # broader than a star
    flux = {"numpyro": 99.5}  # at the end of the prior
    psf = np.exp(-(x**2 + y**2) / 2)
    fits.writeto(folder / "psf.fits", psf)
    rows = ["target,image,psf"]
    header = fits.Header({"BUNIT": "nJy"})
    for k, name in enumerate([*SAMPLERS, "broken"]):
        width = shape.get(name, 1.0)
        light = flux.get(name, 50) * np.exp(-((x - 2) ** 2 + y**2) / 2 / width**2) / (psf.sum() * width**2)
        data = light + 0.05 + np.random.default_rng(k).normal(size=light.shape)
        if name == "modes":  # two stars, exactly alike
            data = data + data[:, ::-1]
        fits.writeto(folder / f"{name}.fits", data, header)
        rows.append(f"{name},{name}.fits,psf.fits")
    path = folder / "broken.fits"
    path.write_bytes(path.read_bytes()[:2000])
    (folder / "targets.csv").write_text("\n".join(rows) + "\n")


def write_survey(folder: Path, name: str, batch: dict) -> None:
    """Write a config."""
    config = {
        "survey": "golden",
        "targets": "targets.csv",
        "output": f"results_{name.partition('_')[0]}",
        "image": {"pixel_scale": "0.2 arcsec"},
        "noise": {"level": 1},
        "models": {"star": MODEL},
        "overrides": {target: {"sampler": sampler} for target, sampler in SAMPLERS.items()},
        "batch": batch,
        "outputs": {"model_images": "none", "figures": "none"},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))


def run(folder: Path, *command: str, seconds: int | None = None) -> None:
    """Run ``socca``, each process of it with so many seconds of a processor."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "CPU_SECONDS": str(seconds or "")}
    subprocess.run([sys.executable, "-m", "socca.cli", *command], cwd=folder, env=environment, check=True)


def fit(folder: Path, survey: str, *targets: str, seconds: int | None = None) -> None:
    """Fit some targets."""
    for owner in folder.glob("results_*/config.json"):
        owner.unlink()  # surveys with other limits write into one folder, which socca refuses otherwise
    chosen = [word for target in targets for word in ("--target", target)]
    run(folder, "fit", "--config", f"{survey}.yaml", *chosen, seconds=seconds)


def script(folder: Path) -> None:
    """Fit an image as scripts do, with the evidences that only they can ask for."""
    import platform

    import socca
    from socca.data import Image
    from socca.models import Model, Point
    from socca.noise import Normal
    from socca.priors import uniform

    platform.node = lambda: "host"
    arcsec = 1 / 3600
    image = Image(str(folder / "maximum.fits"), noise=Normal(sigma=1.0), pixel_scale=0.2)
    image.addpsf(str(folder / "psf.fits"))
    star = Point(xc=uniform(-arcsec, arcsec), yc=0.0, Ic=uniform(0, 100))
    found = socca.fitter(img=image, mod=Model(star))
    found.run("optimizer", seed=3, getzprior=True, n_samples=10, **FEW)
    found.dump(folder / "script.h5")


def main(output: Path) -> None:
    """Make all files in a folder."""
    output.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(CUSTOM)
        write_targets(folder)
        write_survey(folder, "chunk", {"chunk": 20})
        write_survey(folder, "chunk_short", {"chunk": 20, "max_minutes": 0.25})
        write_survey(folder, "chunk_small", {"chunk": 20, "max_memory_mb": 64})
        write_survey(folder, "alone", {"chunk": 1})
        fit(folder, "chunk", "modes", "dynesty", "emcee", "numpyro", "maximum", "marginal", "broken")
        fit(folder, "chunk_short", "timeout")
        fit(folder, "chunk_small", "memory")
        fit(folder, "chunk", "dies", seconds=10)
        fit(folder, "alone", "maximum", "broken")
        run(folder, "catalog", "--config", "chunk.yaml")
        script(folder)
        shutil.copy(folder / "results_chunk" / "catalog.ecsv", output)
        alone = folder / "results_alone" / "fits"
        made = {
            "script": folder / "script.h5",
            "chunk": folder / "results_chunk" / "chunks" / "star" / "0of1.h5",
            "alone": alone / "maximum" / "star" / "posterior.h5",
            "failed": alone / "broken" / "star" / "posterior.h5",
        }
        for kept, path in made.items():
            (output / f"{kept}.h5.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
