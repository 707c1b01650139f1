"""Configs, tables of targets and heartbeats."""

import json

import numpy as np
import yaml
from astropy.io import fits
from astropy.table import Table

from socca.survey.config.build_image import build_image
from socca.survey.config.build_model import build_problem
from socca.survey.jobs.heartbeat import running
from socca.survey.survey import Survey
from socca.survey.targets import load_targets
from tests.fuzz.mutations import NASTY, mutated_bytes, mutated_tree

#: A config with every section, so that a mutation may come to all of them.
CONFIG = {
    "survey": "fuzz",
    "targets": "targets.csv",
    "seed": 3,
    "image": {
        "pixel_scale": "0.2 arcsec",
        "subgrid": 1,
        "frame": "auto",
        "cutout": {"size": "2 arcsec", "center": ["0 arcsec", "0 arcsec"]},
        "mask": {"good": "zero"},
        "psf": {"normalize": True, "includes_pixel": True, "oversample": 1},
    },
    "noise": {"kind": "normal", "level": 1, "parameters": {"scale": {"loguniform": [0.5, 2]}}},
    "models": {
        "galaxy": {
            "components": {
                "disk": {
                    "type": "Exponential",
                    "position": {"within": "1 arcsec"},
                    "theta": {"uniform": [0, "180 deg"]},
                    "e": 0.3,
                    "rs": {"loguniform": ["0.4 arcsec", "2 arcsec"]},
                    "Is": {"loguniform": [1, "10 ** (0.4 * (25 - $mag))"]},
                },
                "bulge": {"type": "Sersic", "position": "disk", "re": "disk.rs * 0.2", "Ie": "2 * disk.Is", "ns": 2},
                "sky": {"type": "Background", "a0": {"normal": {"loc": 0, "scale": 1}}},
            }
        },
        "own": {
            "components": {
                "c": {
                    "type": "CustomProfile",
                    "profile": "top * exp(-r / h)",
                    "parameters": {
                        "h": {"value": "1 arcsec", "unit": "deg", "description": "scale"},
                        "top": {"value": {"uniform": [0, 9]}, "unit": "image"},
                    },
                    "xc": 0,
                    "yc": {"normal": [0, "1 arcsec"]},
                }
            }
        },
    },
    "sampler": {"method": "nautilus", "options": {"n_live": 100}},
    "pool": {"kind": "serial", "cores": 1},
    "batch": {"chunk": 2, "max_minutes": 3},
    "outputs": {"model_images": "all", "figures": "flagged"},
    "plots": {"colormap": "viridis"},
    "flags": {"poor_fit": 2},
    "overrides": {"b": {"models": {"galaxy": {"components": {"disk": {"e": 0.1}}}}}},
}
#: What only YAML can say, in the place of a value.
RAW = [
    *("!!python/object/apply:os.system ['touch hacked']", "!!python/name:os.system", "!!binary aGVsbG8=", "*nowhere"),
    *("!!set {a, b}", "2001-12-14t21:59:43.10-05:00", "2001-01-01", "&a [*a]", "&b {x: *b}", "{? [1, 2] : 3}"),
    *("!unknown 3", "&a [*a, 3]"),
    *("[" * 3000, "[" * 300 + "]" * 300, "{<<: {a: 1}}", "{<<: 3}", "0o17", "1_000", ".nan", "'", "|", "{a: 1, a: 2}"),
    *("[&x [1,2], &y [*x,*x,*x,*x], &z [*y,*y,*y,*y], [*z,*z,*z,*z]]", "9" * 5000, "-.inf", "!!float x", "!!int 1.5"),
]  # fmt: skip


class ConfigRole:
    """A config of every section."""

    def prepare(self, folder):
        self.folder = folder
        for name in "ab":
            fits.writeto(folder / f"{name}.fits", np.ones((12, 12)), overwrite=True)
        (folder / "targets.csv").write_text("target,image,mag\na,a.fits,20\nb,b.fits,21\n")

    def __call__(self, rng):
        how = rng.choice(["tree", "tree", "raw", "bytes"])
        tree = CONFIG if how == "bytes" else mutated_tree(CONFIG, rng, NASTY if how == "tree" else ["FUZZ"])
        text = yaml.safe_dump(tree, allow_unicode=True).encode()
        if how == "raw":
            text = text.replace(b"FUZZ", rng.choice(RAW).encode())
        path = self.folder / "survey.yaml"
        path.write_bytes(mutated_bytes(text, rng) if how == "bytes" else text)
        survey = Survey.load(path)
        assert not (self.folder / "hacked").exists()
        for name, model in survey.jobs():
            target, config = survey.target(name), survey.config.for_target(name)
            survey.fit_params(name, model)
            image = build_image(target, config)
            image.noise.prepare(image)
            problem, _ = build_problem(model, target, config, image)
            assert problem.ndim == len(problem.names)


CELLS = [
    *("", " ", "x", "../..", "nan", "inf", "1e999", "-1", "0", "9" * 400, "a" * 3000, '"', "'", ",", ";", "#"),
    *("\t", "\\"),
    *("a.fits", "/dev/zero", "\x00", "é", "target", "image", "007", "1.5", "True", "-", "a b", "--", "=1+1", "\ufeff"),
]  # fmt: skip


class TableRole:
    """A table of targets: CSV, ECSV or FITS."""

    def prepare(self, folder):
        self.folder = folder
        self.columns = {
            "target": ["a", "b", "c"],
            "image": ["a.fits", "b.fits", "c.fits"],
            "segmentation": ["a_seg.fits", "b_seg.fits", "c_seg.fits"],
            "segment": [1, 2, 3],
            "mag": [20.0, 21.5, 22.0],
        }
        self.whole = {}
        for suffix, form in {".ecsv": "ascii.ecsv", ".fits": "fits"}.items():
            Table(self.columns).write(folder / f"whole{suffix}", format=form, overwrite=True)
            self.whole[suffix] = (folder / f"whole{suffix}").read_bytes()

    def __call__(self, rng):
        suffix = str(rng.choice([".csv", ".csv", ".ecsv", ".fits"]))
        if suffix == ".csv":
            rows = [list(self.columns), *map(list, zip(*map(map, [str] * 5, self.columns.values()), strict=True))]
            for _ in range(rng.integers(0, 4)):
                row = rows[rng.integers(len(rows))]
                if rng.random() < 0.8:
                    row[rng.integers(len(row))] = CELLS[rng.integers(len(CELLS))]
                else:
                    row.extend(row[: int(rng.integers(1, 3))])
            content = str(rng.choice([",", ",", ",", ";", "\t"])).join(["{}"] * 5)
            content = "\n".join(content.format(*row) for row in rows).encode("utf-8", "surrogateescape")
        else:
            content = self.whole[suffix]
        if suffix != ".csv" or rng.random() < 0.3:
            content = mutated_bytes(content, rng)
        path = self.folder / f"targets{suffix}"
        path.write_bytes(content)
        for name, target in load_targets(path).items():
            assert name == target.name
            assert "/" not in name
            assert name not in ("", ".", "..")
            assert "image" in target.files
            json.loads(target.row)


class HeartbeatRole:
    """A heartbeat of a process that runs. No error is right here: one that is damaged is left out."""

    def prepare(self, folder):
        self.folder = folder
        (folder / "running").mkdir(exist_ok=True)

    def __call__(self, rng):
        tree = {"fits": [["a", "m"], ["b", "m"]], "since": 1.5e9}
        how = rng.choice(["tree", "bytes", "root"])
        if how == "tree":
            tree = mutated_tree(tree, rng)
        elif how == "root":
            tree = NASTY[rng.integers(len(NASTY))]
        text = json.dumps(tree).encode()
        if rng.random() < 0.05:
            text = b"[" * 100_000
        (self.folder / "running" / "x.json").write_bytes(mutated_bytes(text, rng) if how == "bytes" else text)
        for target, model in running(self.folder):
            assert isinstance(target, str)
            assert isinstance(model, str)
