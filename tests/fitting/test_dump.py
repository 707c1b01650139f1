"""Files of fits: image, model and posterior come back, and nothing else is read or run."""

import json
import pickle
import subprocess
import sys

import h5py
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.io import fits as fits_io

import socca
from socca import models, noise, priors
from socca.data import Image
from socca.errors import DataError, PosteriorError
from socca.fitting import stored_fit
from socca.fitting.null_evidence import add_evidences
from socca.fitting.object_tree import Packer, Unpacker
from socca.fitting.sample import posterior_of
from socca.likelihood.problem import Problem
from socca.models import Background, CustomProfile, Disk, Gaussian, Model, Point, Sersic
from socca.noise import Normal
from socca.posterior.hdf5 import write_text
from socca.priors import boundto, normal, uniform
from socca.samplers import Draws

SCALE = 0.2 / 3600


@pytest.fixture
def galaxy():
    """Give a function that fits a model to an image, without a search: by importance sampling from the prior."""

    def fitted(img, mod):
        problem = Problem(img, mod)
        samples = problem.prior_transform(np.random.default_rng(3).random((30, problem.ndim)))
        height = problem.log_likelihood(samples)
        log_sum = np.logaddexp.reduce(height)
        draws = Draws(samples, height - log_sum, height, float(log_sum - np.log(30)), 0.5, converged=False)
        posterior = posterior_of(problem, draws)
        add_evidences(posterior, problem)
        fit = socca.fitter.restored(posterior, img, mod, {}, 0)
        assert fit.problem.digest() == problem.digest()  # and is compiled, as after a run
        return fit

    return fitted


def again(value, allow_pickle=False):
    packer = Packer()
    text = json.dumps(packer.pack(value))
    return Unpacker(packer.arrays, packer.pickles, allow_pickle).unpack(json.loads(text)), packer


def same(fit, found):
    """Check that a loaded fit does what the fit does."""
    assert found.problem.digest() == fit.problem.digest()
    assert found.labels == fit.labels
    np.testing.assert_array_equal(found.samples, fit.samples)
    for one, other in zip(found.getmodel(), fit.getmodel(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_all_that_a_loaded_fit_can_do(galaxy, make_psf, make_header, tmp_path, capsys):
    rng = np.random.default_rng(4)
    rms = tmp_path / "rms.fits"
    fits_io.PrimaryHDU(np.full((20, 22), 1.5)).writeto(rms)
    hdu = fits_io.PrimaryHDU(rng.normal(size=(20, 22)), make_header((20, 22), rotation=20, sip=2.0))
    hdu.header["BUNIT"] = "nJy"
    hdu.data[3, 4] = np.nan
    img = Image(hdu, noise=Normal(sigma=rms), center=(10, 9), csize=14, addpsf={"img": make_psf(skewed=True)})
    img.noise.scale = uniform(0.5, 2)
    img.addmask(np.arange(14 * 14).reshape(14, 14) != 100)
    img.data = img.data + 3.0
    ra, dec = map(float, img.frame.center)
    radius, height = uniform(SCALE, 4 * SCALE), uniform(0.1, 50)
    bulge = Sersic(xc=ra, yc=dec, re=radius, Ie=height, ns=2.0, theta=0.3, e=0.2)
    mod = Model()
    mod.addcomponent(bulge, label="bulge")
    mod.addcomponent(Point(xc=boundto(bulge, "xc"), yc=boundto(bulge, "yc"), Ic=uniform(0, 50)))
    mod.addcomponent(Background(a0=normal(0, 5)), label="sky")
    fit = galaxy(img, mod)
    fit.dump(tmp_path / "fit.h5")
    rms.unlink()
    found = socca.load(tmp_path / "fit.h5")
    same(fit, found)
    found.parameters()
    assert "bulge.re" in capsys.readouterr().out
    assert found.bmc(False)[0] == fit.bmc(False)[0]
    for plot in ("comparison", "corner"):
        assert getattr(found.plot, plot)(tmp_path / f"{plot}.png", dpi=40).stat().st_size > 5000
    found.savemodel(tmp_path / "model")
    fit.savemodel(tmp_path / "model_before")
    with fits_io.open(tmp_path / "model.fits") as hdus, fits_io.open(tmp_path / "model_before.fits") as before:
        assert hdus["DATA"].header["CTYPE1"] == "RA---TAN-SIP"
        assert fits_io.FITSDiff(hdus, before).identical
    # A second generation.
    found.dump(tmp_path / "again.h5")
    same(fit, socca.load(filename=tmp_path / "again.h5"))
    # The noise is that of these pixels.
    found.img.addmask(np.arange(14 * 14).reshape(14, 14) != 101)
    with pytest.raises(DataError, match=r"assign a new one to img\.noise"):
        found.run("nautilus")


@pytest.mark.parametrize("name", sorted(models.REGISTRY.own))
def test_every_component_comes_back(name, make_image):
    kind = models.REGISTRY[name]
    if name == "CustomProfile":
        made = kind([{"name": "rs", "unit": "deg"}, {"name": "Is", "unit": "image"}], "Is * exp(-r / rs)")
    else:
        made = kind()
    model = Model(made)
    for parameter in made.parlist():
        if getattr(made, parameter) is None:
            setattr(made, parameter, 1e-4)
    found, packer = again(model)
    assert packer.pickles == []
    assert found.params == model.params
    assert found.components[0].spec() == made.spec()
    assert found.parameters() == model.parameters()


@pytest.mark.parametrize("name", sorted(priors.REGISTRY.own))
def test_every_prior_comes_back(name):
    kind = priors.REGISTRY[name]
    values = {"low": 1.0, "high": 2.0, "loc": 1.5, "scale": 0.5, "losig": 0.2, "hisig": 0.4}
    prior = kind(**{key: values.get(key, 1.7) for key in kind.arguments})
    found, packer = again(prior)
    assert packer.pickles == []
    assert found == prior


@pytest.mark.parametrize(
    "distribution",
    [dist.Normal(1.0, 0.5), dist.TruncatedNormal(1.0, 0.5, low=0.0), dist.Gamma(2.0, 3.0), dist.LogNormal(0.0, 0.3)],
    ids=lambda one: type(one).__name__,
)
def test_priors_of_numpyro_come_back(distribution):
    prior = priors.as_prior(distribution)
    found, packer = again(prior)
    assert packer.pickles == []
    x = np.linspace(0.1, 3, 7)
    np.testing.assert_array_equal(found.log_prob(x), prior.log_prob(x))
    np.testing.assert_array_equal(found.icdf([0.2, 0.9]), prior.icdf([0.2, 0.9]))


NOISE = {
    "normal": lambda: noise.Normal(variance=np.full((9, 9), 2.0)),
    "studentt": lambda: noise.StudentT(sigma=1.3),
    "poisson": lambda: noise.Poisson(),
    "correlated": lambda: noise.NormalCorrelated(cov=np.eye(81) * 2.0),
    "fourier": lambda: noise.NormalFourier(cov=np.full((9, 9), 81.0), ftype="full"),
    "interferometric": lambda: noise.NormalRI(sigma=1.3),
}


def test_all_noise_models_are_here():
    assert len(NOISE) == len(noise.REGISTRY.own)
    assert {type(make()) for make in NOISE.values()} == set(noise.REGISTRY.own.values())


@pytest.mark.parametrize("name", NOISE)
def test_every_noise_comes_back(galaxy, tmp_path, make_psf, name):
    data, beam = np.random.default_rng(2).poisson(20, (9, 9)).astype(float), make_psf((5, 5))
    img = Image(data, noise=NOISE[name](), pixel_scale=0.2, addpsf={"img": beam / beam.max(), "normalize": False})
    kind = Gaussian(xc=0.0, yc=0.0, rs=4 * SCALE, Is=uniform(1, 50))
    fit = galaxy(img, Model(kind))
    fit.dump(tmp_path / "fit.h5")
    same(fit, socca.load(tmp_path / "fit.h5"))


def test_disks_truncations_expressions_and_added_parameters(galaxy, make_image, tmp_path):
    disk = Disk()
    disk.radial.xc = disk.radial.yc = 0.0
    for name in disk.parlist():
        if getattr(disk, name) is None:
            setattr(disk, name, 3 * SCALE if disk.fields[name].unit == "deg" else 5.0)
    mod = Model(disk)
    custom = CustomProfile([{"name": "rs", "unit": "deg"}, {"name": "Is", "unit": "image"}], "Is * exp(-r / rs)")
    custom.xc = custom.yc = 0.0
    custom.addparameter("ratio", uniform(1, 2), "", "of radii")
    custom.rs, custom.Is = 2 * SCALE, uniform(0, 9)
    mod.addcomponent(custom)
    cut = Sersic(xc=0.0, yc=0.0, re=3 * SCALE, Ie=uniform(0, 5), truncation="HyperTangent", rt=5 * SCALE, wt=SCALE)
    mod.addcomponent(cut, positive=True)
    fit = galaxy(make_image(np.random.default_rng(3).normal(2, 1, (11, 11))), mod)
    fit.dump(tmp_path / "fit.h5")
    found = socca.load(tmp_path / "fit.h5")
    same(fit, found)
    assert found.mod.positive == fit.mod.positive


# what only a pickle can hold


def tied(make_image, galaxy):
    bulge = Gaussian(xc=0.0, yc=0.0, rs=uniform(SCALE, 4 * SCALE), Is=uniform(1, 50))
    mod = Model(bulge)
    mod.addcomponent(Gaussian(xc=0.0, yc=0.0, rs=lambda comp_00_rs: jnp.sqrt(2.0) * comp_00_rs, Is=3.0))
    return galaxy(make_image(np.random.default_rng(3).normal(2, 1, (11, 11))), mod)


def test_functions_are_read_on_request_alone(galaxy, make_image, tmp_path):
    fit = tied(make_image, galaxy)
    fit.dump(tmp_path / "fit.h5")
    found = socca.load(tmp_path / "fit.h5")
    np.testing.assert_array_equal(found.samples, fit.samples)
    assert found.logz == fit.logz
    assert found.plot.corner(tmp_path / "corner.png").exists()
    for needs_the_model in (found.getmodel, lambda: found.savemodel("m"), lambda: found.mask):
        with pytest.raises(PosteriorError, match=r"fit\.h5: .*allow_pickle=True"):
            needs_the_model()
    same(fit, socca.load(tmp_path / "fit.h5", allow_pickle=True))


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_file_cannot_run_code(galaxy, make_image, tmp_path):
    fit = galaxy(make_image(np.ones((9, 9))), Model(Background(a0=normal(0, 1))))
    fit.mod.components[0].__dict__["note"] = Trap(tmp_path / "sprung")
    fit.dump(tmp_path / "fit.h5")
    (tmp_path / "sprung").unlink(missing_ok=True)
    with pytest.raises(PosteriorError, match="allow_pickle=True"):
        socca.load(tmp_path / "fit.h5").getmodel()
    assert not (tmp_path / "sprung").exists()
    # Names that are no classes of socca's own are not looked up either.
    for packed in ({"named": "os/system"}, {"object": "prior/system", "number": 0, "state": {}}, {"other": 1}):
        with pytest.raises(KeyError):
            Unpacker([], [], False).unpack(packed)
    with pytest.raises(PosteriorError, match="is no class"):
        Unpacker([], [], False).unpack({"made": "function/superellipse", "fields": {}})
    # Only records are made by a call, with fields from the file.
    for name in ("component/Sersic", "noise/normal", "prior/normal", "numpyro/Normal", "model/Model"):
        with pytest.raises(PosteriorError, match=f"{name} is no record"):
            Unpacker([], [], False).unpack({"made": name, "fields": {}})
    for name in ("posix/system", "numpyro/Normal", "noise/normal", "spec/Parameter"):
        with pytest.raises(PosteriorError, match=f"{name} is no component, prior or model"):
            Unpacker([], [], False).unpack({"object": name, "number": 0, "state": {}})


@pytest.mark.parametrize("how", ["external link", "soft link", "external storage", "virtual"])
def test_a_file_cannot_read_another(galaxy, make_image, tmp_path, how):
    fit = galaxy(make_image(np.ones((9, 9))), Model(Background(a0=normal(0, 1))))
    fit.dump(tmp_path / "fit.h5")
    secret = np.arange(81.0).reshape(9, 9)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = secret
    secret.tofile(tmp_path / "secret.raw")
    with h5py.File(tmp_path / "fit.h5", "a") as file:
        (name,) = [key for key in file["fit"] if file["fit"][key].shape == (9, 9)][:1]
        del file["fit"][name]
        if how == "external link":
            file["fit"][name] = h5py.ExternalLink(str(tmp_path / "other.h5"), "secret")
        elif how == "soft link":
            file["fit"][name] = h5py.SoftLink("/samples")
        elif how == "external storage":
            external = [(str(tmp_path / "secret.raw"), 0, secret.nbytes)]
            file["fit"].create_dataset(name, (9, 9), "f8", external=external)
        else:
            layout = h5py.VirtualLayout((9, 9), "f8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", (9, 9))
            file["fit"].create_virtual_dataset(name, layout)
    with pytest.raises(PosteriorError, match=r"is a link, which is not followed|lies in another file"):
        socca.load(tmp_path / "fit.h5").getmodel()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("allow_pickle", [False, True])
def test_pickles_of_the_published_package_are_refused(tmp_path, protocol, allow_pickle):
    (tmp_path / "fit").write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol))
    with pytest.raises(PosteriorError, match=r"fit: is a pickle, .* run the fit again, and dump it"):
        socca.load(tmp_path / "fit", allow_pickle=allow_pickle)
    assert not (tmp_path / "sprung").exists()


# what has no image and model


def test_a_posterior_alone(galaxy, make_image, tmp_path):
    fit = galaxy(make_image(np.ones((9, 9))), Model(Background(a0=normal(0, 1))))
    fit.posterior.save(tmp_path / "posterior.h5")
    found = socca.load(tmp_path / "posterior.h5")
    assert found.median() == pytest.approx(fit.posterior.median())
    assert (found.img, found.mod) == (None, None)
    with pytest.raises(PosteriorError, match=r"posterior\.h5: holds the posterior, but not image and model"):
        found.getmodel()
    for draw in (found.plot.comparison, found.plot.profile):
        with pytest.raises(PosteriorError, match="holds the posterior, but not image and model"):
            draw(tmp_path / "figure.png")
    assert not (tmp_path / "figure.png").exists()
    found.dump(tmp_path / "again.h5")
    np.testing.assert_array_equal(socca.load(tmp_path / "again.h5").samples, fit.samples)


def test_what_has_changed_since_the_run_is_not_written(galaxy, make_image, tmp_path):
    fit = galaxy(make_image(np.ones((9, 9))), Model(Background(a0=normal(0, 1))))
    fit.mod.components[0].a1x = 0.5
    with pytest.warns(UserWarning, match=r"fit\.h5: holds the posterior, but not image and model: they have changed"):
        fit.dump(tmp_path / "fit.h5")
    assert socca.load(tmp_path / "fit.h5").mod is None


def rewritten(path, change):
    """Change the tree of a file, with the checksum that it should have then."""
    with h5py.File(path, "a") as file:
        group = file["fit"]
        before = group["tree"][()].tobytes()
        after = change(before)
        assert after != before
        del group["tree"]
        group.create_dataset("tree", data=np.frombuffer(after, np.uint8))
        write_text(group, "sha256", stored_fit._digest(group))


def replaced(name, *args, **kwargs):
    """Return what puts another dataset in the place of one."""

    def edit(path):
        with h5py.File(path, "a") as file:
            del file["fit"][name]
            file["fit"].create_dataset(name, *args, **kwargs)

    return edit


HARMFUL = {
    "never written": (replaced("array_0", (10**12,), "f8", chunks=(1000,), compression="gzip"), "more than the file"),
    "unknown filter": (replaced("array_0", data=np.ones((9, 9)), compression="lzf"), "unknown filters"),
    "any length": (replaced("array_0", data=["a", "b"], dtype=h5py.string_dtype()), "holds no numbers"),
    "any length of numbers": (
        replaced("array_0", (2,), h5py.vlen_dtype(np.dtype("f8"))),
        "holds no numbers|more than the file",
    ),
    "other values": (replaced("array_0", data=np.ones((9, 9)) * 3), "do not match their checksum"),
    "tree of texts": (replaced("tree", data=[b"{}"]), "holds no numbers"),
}


@pytest.mark.parametrize("how", HARMFUL)
def test_of_a_harmful_file_only_the_posterior_is_read(galaxy, make_image, tmp_path, how):
    fit = galaxy(make_image(np.ones((9, 9))), Model(Background(a0=normal(0, 1))))
    fit.dump(tmp_path / "fit.h5")
    edit, said = HARMFUL[how]
    edit(tmp_path / "fit.h5")
    found = socca.load(tmp_path / "fit.h5")
    np.testing.assert_array_equal(found.samples, fit.samples)
    with pytest.raises(PosteriorError, match=rf"fit\.h5: .*({said})"):
        found.getmodel()


def test_a_flipped_bit_is_found(galaxy, make_image, tmp_path):
    fit = galaxy(make_image(np.full((9, 9), 1.25)), Model(Background(a0=normal(0, 1))))
    fit.dump(tmp_path / "fit.h5")
    with h5py.File(tmp_path / "fit.h5") as file:
        place = next(one.id.get_offset() for name, one in file["fit"].items() if name != "tree" and one.id.get_offset())
    content = bytearray((tmp_path / "fit.h5").read_bytes())
    content[place] ^= 1
    (tmp_path / "fit.h5").write_bytes(content)
    with pytest.raises(PosteriorError, match="do not match their checksum"):
        socca.load(tmp_path / "fit.h5").getmodel()


class Stumble:
    """Cannot be unpickled."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return stumble, (self.error,)


def stumble(error):
    if error is not None:
        raise error


@pytest.mark.parametrize(
    "error",
    [RuntimeError("lost"), ImportError("no module"), pickle.UnpicklingError("cut"), EOFError("ends"), AssertionError()],
)
def test_whatever_a_pickle_raises_leaves_the_posterior(galaxy, make_image, tmp_path, error):
    fit = galaxy(make_image(np.ones((9, 9))), Model(Background(a0=normal(0, 1))))
    fit.mod.components[0].__dict__["note"] = Stumble(error)
    fit.dump(tmp_path / "fit.h5")
    found = socca.load(tmp_path / "fit.h5", allow_pickle=True)
    np.testing.assert_array_equal(found.samples, fit.samples)
    with pytest.raises(PosteriorError, match=f"or of another version of socca: {type(error).__name__}"):
        found.getmodel()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"component/Background"', b'"prior/normal"'),  # no component
        (b'"model/Model"', b'"prior/normal"'),  # no model
        (b'"noise/normal"', b'"prior/normal"'),  # no noise
        (b'["mask", ', b'["masks", '),  # without a part
        (b'["tables", {"list": []}]', b'["tables", 3]'),
        (b'{"array": 4}', b'{"array": 400}'),
    ],
)
def test_a_tree_that_makes_no_problem_leaves_the_posterior(galaxy, make_image, tmp_path, old, new):
    fit = galaxy(make_image(np.ones((9, 9))), Model(Background(a0=normal(0, 1))))
    fit.dump(tmp_path / "fit.h5")
    rewritten(tmp_path / "fit.h5", lambda tree: tree.replace(old, new))
    found = socca.load(tmp_path / "fit.h5")
    np.testing.assert_array_equal(found.samples, fit.samples)
    with pytest.raises(PosteriorError, match=r"fit\.h5: "):
        found.getmodel()


@pytest.mark.parametrize("how", ["version", "json", "array"])
def test_a_damaged_fit_leaves_the_posterior(galaxy, make_image, tmp_path, how):
    fit = galaxy(make_image(np.ones((9, 9))), Model(Background(a0=normal(0, 1))))
    fit.dump(tmp_path / "fit.h5")
    with h5py.File(tmp_path / "fit.h5", "a") as file:
        tree = file["fit/tree"][()].tobytes()
        if how == "array":
            del file["fit/array_0"]
        else:
            text = tree.replace(b'"version": 2', b'"version": 9') if how == "version" else tree[:-40]
            del file["fit/tree"]
            file["fit"].create_dataset("tree", data=np.frombuffer(text, np.uint8))
    found = socca.load(tmp_path / "fit.h5")
    np.testing.assert_array_equal(found.samples, fit.samples)
    said = {"version": "format 9", "json": "damaged", "array": "do not match their checksum"}[how]
    with pytest.raises(PosteriorError, match=said):
        found.getmodel()


def test_another_model_than_the_fitted_one_is_not_believed(galaxy, make_image, tmp_path):
    fit = galaxy(make_image(np.ones((9, 9))), Model(Background(a0=normal(0, 1))))
    fit.dump(tmp_path / "fit.h5")
    rewritten(tmp_path / "fit.h5", lambda tree: tree.replace(b'["a1x", 0.0]', b'["a1x", 0.7]'))
    with pytest.raises(PosteriorError, match="makes another model of what is stored"):
        socca.load(tmp_path / "fit.h5").getmodel()


READ = """
import sys
import socca

fit = socca.load(sys.argv[1])
print(fit.getmodel("smo").sum(), fit.logz)
"""


def test_another_process_reads_it(galaxy, make_image, tmp_path):
    """The tags of all classes are there without anything imported before."""
    mod = Model(Sersic(xc=0.0, yc=0.0, re=3 * SCALE, Ie=uniform(0, 5), ns=1.0, truncation="Exponential", rt=9 * SCALE))
    fit = galaxy(make_image(np.ones((9, 9))), mod)
    fit.dump(tmp_path / "fit.h5")
    done = subprocess.run([sys.executable, "-c", READ, tmp_path / "fit.h5"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(fit.getmodel("smo").sum()), str(fit.logz)]
