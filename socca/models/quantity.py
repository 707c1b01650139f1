"""What is derived from the parameters of a component: fluxes, radii, shapes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """A quantity that follows from the parameters of a component.

    Parameters
    ----------
    unit : str
        ``deg``, ``flux`` (that of the image, summed over pixels), ``brightness`` (that of the image, per pixel) or empty.
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


#: Name -> quantity, in the order of tables.
QUANTITIES: dict[str, Quantity] = {
    "flux": Quantity("flux", "total flux", "phot.flux"),
    "r50": Quantity("deg", "radius of half the light, along the major axis", "phys.angSize.smajAxis"),
    "r50_circ": Quantity("deg", "radius of half the light, circularised", "phys.angSize"),
    "r20": Quantity("deg", "radius of 20 % of the light, along the major axis", "phys.angSize.smajAxis"),
    "r80": Quantity("deg", "radius of 80 % of the light, along the major axis", "phys.angSize.smajAxis"),
    "r90": Quantity("deg", "radius of 90 % of the light, along the major axis", "phys.angSize.smajAxis"),
    "concentration": Quantity("", "5 log10(r80 / r20)", "src.morph.param"),
    "petrosian": Quantity("deg", "Petrosian radius (eta = 0.2), along the major axis", "phys.angSize.smajAxis"),
    "sb_r50": Quantity("brightness", "brightness at r50", "phot.flux.sb"),
    "sb_within_r50": Quantity("brightness", "mean brightness within r50", "phot.flux.sb;stat.mean"),
    "q": Quantity("", "axis ratio, b/a", "phys.angSize;arith.ratio"),
    "pa": Quantity("deg", "position angle of the major axis, from north through east", "pos.posAng", 180.0),
    "e1": Quantity("", "(1 - q) / (1 + q) cos(2 pa): positive along north", "src.ellipticity"),
    "e2": Quantity("", "(1 - q) / (1 + q) sin(2 pa): positive along north-east", "src.ellipticity"),
}
