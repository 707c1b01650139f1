"""What images must show, by brute force: source times optics times pixel, at the centres of pixels.

Nothing of socca is used. A source is cut into very many point sources: quadrature in polar coordinates, or along the
axes of a bridge, or through the volume of a disk; panels become finer towards centres, and end at edges. Each point
source is seen through the PSF and the pixel together, which is a closed form: a PSF is a sum of round Gaussians here,
and a Gaussian over a pixel is a product of error functions. A Moffat profile is such a sum too, to 1e-7 of its peak.

All lengths are in pixels. Positions are (x, y), columns and rows from the centre of the array; north is +y, east -x.
"""

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from scipy.special import beta as beta_function
from scipy.special import erf, gamma, gammaincinv

#: Parameters that are lengths.
LENGTHS = ("re", "rs", "rc", "rm", "rt", "wt", "zs")
#: Points in each panel.
POINTS = 10
#: Share of the light that may be left out.
LOST = 2e-7
#: Radius from which on panels grow, in units of a law's scale.
INNERMOST = 1e-7


@dataclass(frozen=True)
class Psf:
    """The optics: a sum of round Gaussians."""

    flux: np.ndarray
    x: np.ndarray  #: offsets from the reference point, pixels
    y: np.ndarray
    sigma: np.ndarray
    scale: float  #: on which it varies: the standard deviation, pixels
    reach: float  #: how far it is followed, pixels

    @classmethod
    def gaussian(cls, fwhm):
        """Return a Gaussian."""
        sigma = fwhm / math.sqrt(8 * math.log(2))
        return cls(*(np.array([v]) for v in (1.0, 0.0, 0.0, sigma)), scale=sigma, reach=6.5 * sigma + 1)

    @classmethod
    def skewed(cls, fwhm):
        """Return an asymmetric PSF: three Gaussians side by side, its centroid where they put it."""
        sigma = fwhm / math.sqrt(8 * math.log(2))
        sizes = sigma * np.array([1.0, 1.15, 1.4])
        x, y = sigma * np.array([0.0, 0.8, -0.6]), sigma * np.array([0.0, -0.5, 1.1])
        return cls(np.array([0.6, 0.25, 0.15]), x, y, sizes, scale=sigma, reach=6.5 * sizes[-1] + 2 * sigma + 1)

    @classmethod
    def moffat(cls, fwhm, index):
        """Return ``(1 + (r/a)^2)^-index``: the integral over t of ``t^(index-1) exp(-t) exp(-t (r/a)^2)``."""
        a = fwhm / 2 / math.sqrt(2 ** (1 / index) - 1)
        # In ln t the trapezoidal rule converges geometrically.
        step = 0.4
        t = np.exp(np.arange(-15 / (index - 1), 3.5, step))
        flux = step * t ** (index - 1) * np.exp(-t) / gamma(index - 1)
        zero = np.zeros_like(t)
        return cls(flux, zero, zero, a / np.sqrt(2 * t), scale=a / math.sqrt(2 * index), reach=15 * fwhm)

    def at(self, x, y, side=1.0):
        """Return its mean over squares of a given side around (x, y), which are broadcast; of no side, its value."""
        total = 0.0
        for flux, x0, y0, sigma in zip(self.flux, self.x, self.y, self.sigma, strict=True):
            total = total + flux * _across(x - x0, sigma, side) * _across(y - y0, sigma, side)
        return total

    def array(self, shape, oversample=1, side=1.0):
        """Return it about the centre of an array, for `Image.addpsf`.

        Parameters
        ----------
        shape : int or tuple of int
            Rows and columns.
        oversample : int
            How many times finer than the image's its pixels are.
        side : float
            Of the square that is included, in pixels of the image: 1 for what a star shows, 0 for the optics alone.

        Returns
        -------
        ndarray
            Its sum is 1, but for what lies outside of the array; it is not normalised.
        """
        rows, cols = (shape, shape) if np.ndim(shape) == 0 else shape
        y, x = ((np.arange(n) - (n - 1) / 2) / oversample for n in (rows, cols))
        return self.at(x[None, :], y[:, None], side) / oversample**2


def _across(x, sigma, side):
    """Return the mean of a Gaussian of unit integral over an interval around `x`."""
    if side == 0:
        return np.exp(-0.5 * (x / sigma) ** 2) / (math.sqrt(2 * math.pi) * sigma)
    root = math.sqrt(2) * sigma
    return (erf((x + side / 2) / root) - erf((x - side / 2) / root)) / (2 * side)


# Laws of the radius, written down from the contract.


def _sersic(r, re, Ie, ns=0.5):
    b = gammaincinv(2 * ns, 0.5)
    return Ie * np.exp(-b * ((r / re) ** (1 / ns) - 1))


def _gnfw(r, rc, Ic, alpha=1.0510, beta=5.4905, gamma=0.3081):
    # The line of sight in s = ln z: the trapezoidal rule converges geometrically.
    s = np.arange(-28 / (1 - gamma), 28 / (beta - 1), 0.15)
    z = np.exp(s)

    def integral(x):
        return np.sum(z * x**-gamma * (1 + x**alpha) ** ((gamma - beta) / alpha), axis=-1)

    flat = np.ravel(r) / rc
    found = [integral(np.hypot(part[:, None], z)) for part in np.array_split(flat, flat.size // 2000 + 1)]
    return Ic * np.reshape(np.concatenate(found) / integral(z), np.shape(r))


def _poly_exponential(r, rs, Is, rc, c1=0.0, c2=0.0, c3=0.0, c4=0.0):
    x = r / rc
    return Is * np.exp(-r / rs) * (1 + c1 * x + c2 * x**2 + c3 * x**3 + c4 * x**4)


def _poly_expo_refact(r, rs, Is, rc, I1=0.0, I2=0.0, I3=0.0, I4=0.0):
    x = r / rc
    return np.exp(-r / rs) * (Is + I1 * x + I2 * x**2 + I3 * x**3 + I4 * x**4)


LAWS = {
    "Sersic": _sersic,
    "Gaussian": lambda r, rs, Is: Is * np.exp(-((r / rs) ** 2) / 2),
    "Exponential": lambda r, rs, Is: Is * np.exp(-r / rs),
    "PolyExponential": _poly_exponential,
    "PolyExpoRefact": _poly_expo_refact,
    "ModExponential": lambda r, rs, Is, rm, alpha: Is * np.exp(-r / rs) * (1 + r / rm) ** alpha,
    "Beta": lambda r, rc, Ic, alpha=2.0, beta=0.55: Ic * (1 + (r / rc) ** alpha) ** -beta,
    "gNFW": _gnfw,
    "Power": lambda r, rc, Ic, alpha: Ic * (r / rc) ** -alpha,
    "TopHat": lambda r, rc, Ic: np.where(r < rc, Ic, 0.0),
}
TRUNCATIONS = {
    "Exponential": lambda r, rt, wt: np.maximum(0, np.expm1(np.minimum(r - rt, 0) / wt) / np.expm1(-rt / wt)),
    "HyperTangent": lambda r, rt, wt: (1 - np.tanh((r - rt) / wt)) / (1 - np.tanh(-rt / wt)),
}
#: Laws of the height, and their integrals over all heights.
HEIGHTS = {
    "HyperSecantHeight": (
        lambda z, zs, alpha=2.0: np.cosh(z / zs) ** -alpha,
        lambda zs, alpha=2.0: zs * beta_function(0.5, alpha / 2),
    ),
    "ExponentialHeight": (lambda z, zs: np.exp(-np.abs(z) / zs), lambda zs: 2 * zs),
}


#: Default laws across and along a bridge, with the exponents they have there.
BRIDGES = {
    "SimpleBridge": (("Beta", {}), ("TopHat", {})),
    "MesaBridge": (("Beta", {"alpha": 8.0, "beta": 1.0}), ("Power", {"alpha": 8.0})),
}


@dataclass(frozen=True)
class _Law:
    """A law of the radius, its scale, and where it must be looked at closely."""

    function: object
    scale: float
    breaks: tuple

    @classmethod
    def of(cls, kind, values, truncation=None, profile=None):
        """Take its values out of those of a component; `kind` may be ``CustomProfile``."""
        own = {key: v for key, v in values.items() if key not in ("theta", "e", "cbox", "rt", "wt")}
        law = profile if kind == "CustomProfile" else LAWS[kind]
        scale = min([own[key] for key in LENGTHS if key in own and key != "rc"] or [own.get("rc", 1.0)])
        breaks = [own["rc"]] if kind == "TopHat" else []
        if kind == "Power" and own["alpha"] >= 2:
            raise ValueError(f"Power: alpha = {own['alpha']} has infinite light")
        if truncation is None:
            return cls(lambda r: law(r, **own), scale, tuple(breaks))
        rt, wt = values["rt"], values["wt"]
        steps = wt * 0.25 * 1.6 ** np.arange(14)
        breaks += [rt, *(rt - steps), *(rt + steps)]
        return cls(lambda r: law(r, **own) * TRUNCATIONS[truncation](r, rt, wt), scale, tuple(breaks))


def _panels(scale, breaks, far, widest, refine):
    """Return the edges of panels from `INNERMOST` to `far`, that grow by 1.5 up to a width and end at the breaks."""
    ratio, widest = 1.5 ** (1 / refine), widest / refine
    least = INNERMOST * scale
    growing = min(widest / (ratio - 1), far)
    edges = [np.geomspace(least, growing, math.ceil(math.log(growing / least) / math.log(ratio)) + 1)]
    edges.append(np.linspace(growing, far, math.ceil((far - growing) / widest) + 1))
    edges = np.unique(np.concatenate([*edges, [b for b in breaks if least < b < far]]))
    return edges[np.concatenate([[True], np.diff(edges) > 1e-13 * edges[1:]])]


def _gauss(edges):
    """Return Gauss-Legendre nodes and weights, a row for each panel."""
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    low, wide = edges[:-1, None], np.diff(edges)[:, None]
    return low + wide * (nodes + 1) / 2, wide * weights / 2


def _counts(light):
    """Tell which of many parts are not among the least that hold next to nothing together."""
    light = np.abs(light)
    order = np.argsort(light)
    found = np.empty(light.size, bool)
    found[order] = np.cumsum(light[order]) > LOST * light.sum()
    return found


def _shortened(nodes, weights, light):
    """Leave out the outermost panels that hold next to no light."""
    outside = np.cumsum(np.abs(light).sum(1)[::-1])[::-1]
    keep = max(int(np.sum(outside > LOST * outside[0])), 1)
    return nodes[:keep], weights[:keep]


def _turned(major, minor, theta):
    """Return (x, y) of offsets along the axes; the major one is at `theta` from north through east."""
    sin, cos = math.sin(theta), math.cos(theta)
    # East is -x. To the east of north along the major axis; the minor axis is a quarter of a turn further.
    return -(major * sin + minor * cos), major * cos - minor * sin


def _ellipse(law, values, psf, far, refine):
    """Return nodes (along the major axis, along the minor one) and weights of elliptical or boxy isophotes."""
    ratio, power = 1 - values.get("e", 0.0), 2 + values.get("cbox", 0.0)
    edges = _panels(law.scale, law.breaks, far / ratio, 2.5 * psf.scale, refine)
    r, weight = _gauss(edges)
    r, weight = _shortened(r, weight, law.function(r) * r * weight)
    found = law.function(r) * r * weight * ratio
    # The light around the very centre, where the law is a power of the radius.
    least = edges[0]
    close = law.function(np.array([least, 2 * least]))
    slope = -math.log2(close[1] / close[0]) if np.all(close > 0) else 0.0
    parts = [(np.zeros(1), np.zeros(1), np.array([close[0] * least**2 * ratio / (2 - slope) * _turn(power)]))]
    for radii, light in zip(r, found, strict=True):
        across = radii[-1] / psf.scale
        number = 4 * math.ceil(refine * max(2 + 6 * min(across, 1.0), math.pi * across / 1.6))
        angle, share = _angles(number, power)
        reach = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
        major, minor = (np.outer(radii, reach * f(angle)) for f in (np.cos, np.sin))
        parts.append((major.ravel(), ratio * minor.ravel(), np.outer(light, share * reach**2).ravel()))
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _disk(values, laws, truncation, psf, far, refine):
    """Return nodes and weights of a disk: those of its radial law at every height, projected."""
    radial, vertical = (
        {key.partition(".")[2]: v for key, v in values.items() if key.startswith(part)}
        for part in ("radial.", "vertical.")
    )
    inc, zs = vertical.pop("inc", 0.0), vertical["zs"]
    law, thickness = HEIGHTS[laws[1]]
    # From the plane to where the law has fallen to 1e-7, in steps that neither it nor the PSF notices.
    high = 16 * zs / min(vertical.get("alpha", 1.0), 1.0)
    widest = 2.5 * psf.scale / (refine * max(math.sin(inc), 1e-6))
    steps = np.geomspace(1, 16, round(4 * refine) + 1) * high / 16
    edges = np.concatenate([[0.0], steps])
    edges = [np.linspace(a, b, math.ceil((b - a) / widest) + 1)[1:] for a, b in pairwise(edges)]
    z, weight = _gauss(np.concatenate([[0.0], *edges]))
    z, weight = z.ravel(), (weight * law(z, **vertical) / thickness(**vertical)).ravel()
    major, minor, light = _ellipse(
        _Law.of(laws[0], radial, truncation), radial, psf, far / max(math.cos(inc), 1e-3), refine
    )
    keep = np.flatnonzero(np.abs(major) < far)
    keep = keep[_counts(light[keep])]
    major, minor, light = major[keep], minor[keep], light[keep]
    return [
        np.tile(major, 2 * z.size),
        np.add.outer(np.concatenate([-z, z]) * math.sin(inc), minor * math.cos(inc)).ravel(),
        np.outer(np.tile(weight, 2), light).ravel(),
    ]


def _bridge(name, values, laws, psf, far, refine):
    """Return nodes and weights of a bridge: panels along both of its axes."""
    sides = []
    for k, (part, scale) in enumerate(
        [("radial", values["rs"] * (1 - values.get("e", 0.5))), ("parallel", values["rs"])]
    ):
        kind, own = BRIDGES[name][k]
        if laws is not None and laws[k] != kind:
            kind, own = laws[k], {}
        given = {key.partition(".")[2]: v for key, v in values.items() if key.startswith(f"{part}.")}
        names = {"Sersic": ("re", "Ie"), "Beta": ("rc", "Ic"), "Power": ("rc", "Ic"), "TopHat": ("rc", "Ic")}
        size, amplitude = names.get(kind, ("rs", "Is"))
        # A power law that falls off is one of many forms of the mesa, which has no infinite light.
        function = partial(LAWS[kind], **{**own, **given, size: scale, amplitude: 1.0})
        breaks = (scale,) if kind == "TopHat" else ()
        edges = _panels(scale, breaks, far, 2.5 * psf.scale, refine)
        nodes, weights = _gauss(np.concatenate([[0.0], edges[edges > 1e-3 * scale]]))
        sides.append((nodes.ravel(), weights.ravel(), function(nodes.ravel())))
    (r, wr, f), (z, wz, g) = sides
    if name == "SimpleBridge":
        light = np.outer(f, g)
    else:
        with np.errstate(divide="ignore"):
            light = 1 / np.add.outer(1 / f, 1 / g)
    light = (values["Is"] * light * np.outer(wr, wz)).ravel()
    minor, major = (axis.ravel() for axis in np.meshgrid(r, z, indexing="ij"))
    return (
        np.concatenate([major, -major, major, -major]),
        np.concatenate([minor, minor, -minor, -minor]),
        np.tile(light, 4),
    )


def _angles(number, power):
    """Return angles of a whole turn and their weights."""
    if power == 2:
        return 2 * math.pi * (np.arange(number) + 0.5) / number, np.full(number, 2 * math.pi / number)
    # Isophotes have kinks on their axes: Gauss-Legendre in each quadrant, in a variable that is flat at its ends.
    nodes, weights = np.polynomial.legendre.leggauss(number)
    t = (nodes + 1) / 2
    angle = math.pi / 2 * t**3 * (10 - 15 * t + 6 * t**2)
    share = math.pi / 2 * 30 * t**2 * (1 - t) ** 2 * weights / 2
    return np.concatenate([angle + k * math.pi / 2 for k in range(4)]), np.tile(share, 4)


def _turn(power):
    """Return the integral over the angle of the squared radius of the unit isophote: twice its area."""
    return 2 * 4 * gamma(1 + 1 / power) ** 2 / gamma(1 + 2 / power)


def image(name, values, position, psf, shape, *, truncation=None, profile=None, laws=None, refine=1):
    """Return the image of a component.

    Parameters
    ----------
    name : str
        Of a component of socca.
    values : dict
        Its parameters, lengths in pixels, without its position. ``theta, e, cbox`` and exponents have the defaults of
        the contract; other parameters must be there.
    position : tuple of float
        (x, y), pixels from the centre of the array.
    psf : Psf
        The optics.
    shape : tuple of int
        Rows and columns.
    truncation : str, optional
        ``Exponential`` or ``HyperTangent``.
    profile : callable, optional
        Of a ``CustomProfile``: ``profile(r, **values)``.
    laws : tuple of str, optional
        Of a ``Disk``: radial and vertical law. Of a bridge: the laws across and along it.
    refine : float
        How much denser nodes are along each axis: an image that does not change has converged. For disks, 0.6 will do.

    Returns
    -------
    ndarray, shape (ny, nx)
        The source times the optics times the pixel, at the centres of pixels.
    """
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    if name == "Point":
        return values["Ic"] * psf.at(x[None, :] - position[0], y[:, None] - position[1])
    corners = [math.hypot(a - position[0], b - position[1]) for a in (x[0], x[-1]) for b in (y[0], y[-1])]
    far, theta = max(corners) + psf.reach, values.get("theta", 0.0)
    if name == "Disk":
        theta = values.get("radial.theta", 0.0)
        major, minor, weight = _disk(values, laws or ("Sersic", "HyperSecantHeight"), truncation, psf, far, refine)
    elif name in BRIDGES:
        major, minor, weight = _bridge(name, values, laws, psf, far, refine)
    else:
        major, minor, weight = _ellipse(_Law.of(name, values, truncation, profile), values, psf, far, refine)
    dx, dy = _turned(major, minor, theta)
    return _seen(position[0] + dx, position[1] + dy, weight, psf, x, y)


def _seen(at_x, at_y, weight, psf, x, y):
    """Return the sum of point sources seen through the PSF and the pixel."""
    # How far each is outside of the image; those of which next to nothing arrives are left out.
    outside = np.hypot(*(np.maximum(np.abs(a) - b[-1], 0) for a, b in ((at_x, x), (at_y, y))))
    r = np.linspace(0, psf.reach, 300)
    most = np.max([psf.at(r * math.cos(k), r * math.sin(k)) for k in np.arange(8) * math.pi / 4], axis=0)
    bound = np.abs(weight) * np.interp(outside, r, most, right=0.0)
    keep = np.flatnonzero(_counts(bound))
    total = np.zeros((y.size, x.size))
    for part in np.array_split(keep, keep.size // 20000 + 1):
        for flux, x0, y0, sigma in zip(psf.flux, psf.x, psf.y, psf.sigma, strict=True):
            rows = _across(y[:, None] - at_y[part] - y0, sigma, 1.0)
            cols = _across(x[:, None] - at_x[part] - x0, sigma, 1.0)
            total += flux * (rows * weight[part]) @ cols.T
    return total


def in_degrees(values, position, pixel, prefix=""):
    """Return the values as a component of socca takes them.

    Parameters
    ----------
    values, position
        As `image` takes them.
    pixel : float
        Size of a pixel, degrees.
    prefix : str
        Of the position's parameters: ``radial.`` for a ``Disk``.
    """
    lengths = {key: v * pixel if key.rpartition(".")[2] in LENGTHS else v for key, v in values.items()}
    return {f"{prefix}xc": -position[0] * pixel, f"{prefix}yc": position[1] * pixel, **lengths}
