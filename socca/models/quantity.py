"""What is derived from the parameters of a component: fluxes, radii, shapes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """A quantity that follows from the parameters of a component.

    Parameters
    ----------
    unit : str
        ``deg``, ``flux`` (that of the image, summed over pixels), ``brightness`` (that of the image) or empty.
    description : str
        One line.
    ucd : str
        Unified content descriptor (IVOA UCD1+ 1.5).
    period : float or None
        The quantity is an angle that comes back to itself after this.
    """

    unit: str
    description: str
    ucd: str
    period: float | None = None


_RADIUS = "phys.angSize.smajAxis"

#: Name -> quantity, in the order of tables, of what a component derives by itself.
QUANTITIES: dict[str, Quantity] = {
    "flux": Quantity("flux", "total flux", "phot.flux.density"),
    "r50": Quantity("deg", "radius of half the light, along the major axis", _RADIUS),
    "r50_circ": Quantity("deg", "radius of half the light, circularised", "phys.angSize"),
    "r20": Quantity("deg", "radius of 20 % of the light, along the major axis", _RADIUS),
    "r80": Quantity("deg", "radius of 80 % of the light, along the major axis", _RADIUS),
    "r90": Quantity("deg", "radius of 90 % of the light, along the major axis", _RADIUS),
    "concentration": Quantity("", "5 log10(r80 / r20)", "src.morph.param"),
    "petrosian": Quantity("deg", "Petrosian radius (eta = 0.2), along the major axis", _RADIUS),
    "sb_r50": Quantity("brightness", "brightness at r50", "phot.flux.density.sb"),
    "sb_within_r50": Quantity("brightness", "mean brightness within r50", "phot.flux.density.sb"),
    "q": Quantity("", "axis ratio, b/a", "phys.size.axisRatio"),
    "pa": Quantity("deg", "position angle of the major axis, from north through east", "pos.posAng", 180.0),
    "e1": Quantity("", "(1 - q) / (1 + q) cos(2 pa): positive along north", "src.ellipticity"),
    "e2": Quantity("", "(1 - q) / (1 + q) sin(2 pa): positive along north-east", "src.ellipticity"),
}
#: Those that follow from these with a zero point, and with several components.
FURTHER: dict[str, Quantity] = {
    "mag": Quantity("mag", "total magnitude", "phot.mag"),
    "mu_r50": Quantity("mag / arcsec2", "surface brightness at r50", "phot.mag.sb"),
    "mu_within_r50": Quantity("mag / arcsec2", "mean surface brightness within r50", "phot.mag.sb"),
    "flux_fraction": Quantity("", "flux over that of all components", "phot.flux.density;arith.ratio"),
}
#: Names of all, in the order of tables; and of those that surveys keep where nobody says.
NAMES = ("flux", *FURTHER, *(name for name in QUANTITIES if name != "flux"))
USUAL = ("flux", "mag", "mu_within_r50", "flux_fraction", "r50", "r90", "concentration", "q", "pa")
