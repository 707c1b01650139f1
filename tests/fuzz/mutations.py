"""Mutations of files: of bytes, of FITS cards, and of nodes of plain data."""

import copy
import math
import re

#: Values that do not belong where they are put, as JSON and YAML may have them.
NASTY = [
    *(None, True, False, 0, -1, 1, 2, 10**9, 10**30, -(10**30), 0.5, -1e-320, 1e308, math.nan, math.inf, -math.inf),
    *("", " ", "x", "nan", "1e999", "../../etc/passwd", "a" * 5000, "\u0000", "\ud7ff\u202e", "é", "1; 2", "%s {} \\"),
    *("done", "failed", "$mag", "disk.rs", "9**9**9**9", "((((" * 50, "1/0", "1 arcsec", "-3 pix", "2 furlong", "0x1F"),
    *([], {}, [[]], [None], {"": None}, {"uniform": [1, 0]}, {"normal": [0]}, {"a": {"b": {"c": {}}}}, [1, "x", None]),
]


def mutated_bytes(content, rng):
    """Flip bits, cut, repeat, splice or zero parts of a file, up to three times."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        if not content:
            break
        at, other = sorted(int(x) for x in rng.integers(0, len(content), 2))
        how = rng.choice(["flip", "flip", "flip", "truncate", "duplicate", "splice", "zero", "noise"])
        if how == "flip":
            content[at] ^= 1 << int(rng.integers(8))
        elif how == "truncate":
            del content[other:]
        elif how == "duplicate":
            content[at:at] = content[at:other][: int(rng.integers(1, 4000))]
        elif how == "splice":
            n = int(rng.integers(1, 200))
            content[at : at + n] = content[other : other + n]
        else:
            n = min(int(rng.integers(1, 300)), len(content) - at)
            content[at : at + n] = bytes(n) if how == "zero" else rng.bytes(n)
    return bytes(content)


def places(tree, path=()):
    """Yield the path of each node below the root of plain data."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutated_tree(tree, rng, values=NASTY):
    """Replace, delete, rename or exchange one node or two of plain data; the data themselves are left as they are."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.integers(1, 3)):
        known = list(places(tree))
        if not known:
            break
        path = known[rng.integers(len(known))]
        holder = at(tree, path[:-1])
        how = rng.choice(["replace", "replace", "replace", "delete", "rename", "exchange"])
        if how == "replace":
            holder[path[-1]] = copy.deepcopy(values[rng.integers(len(values))])
        elif how == "delete":
            del holder[path[-1]]
        elif how == "rename" and isinstance(holder, dict):
            holder[str(rng.choice(["x", "", "type", "samples", "0", str(path[-1]) + "s"]))] = holder.pop(path[-1])
        else:
            holder[path[-1]] = copy.deepcopy(at(tree, known[rng.integers(len(known))]))
    return tree


def at(tree, path):
    """Return a node of plain data."""
    for key in path:
        tree = tree[key]
    return tree


_CARD_VALUES = [
    *("0", "1", "-1", "2", "3", "8", "16", "-32", "-64", "7", "99999999999", "4000000000", "1E400", "1E-320", "NaN"),
    *("T", "F", "''", "'text'", "'deg     '", "'RA---TAN'", "'GLON-ZEA'", "(1, 2)", "", "0.0", "-0.0", "1.5", "1e300"),
]
_CARDS = [
    *("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "BSCALE", "BZERO", "BLANK", "PCOUNT", "GCOUNT"),
    *("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CD1_1", "CD1_2", "CD2_2", "CDELT1", "CUNIT1", "PC1_1"),
    *("RADESYS", "EQUINOX", "WCSAXES", "A_ORDER", "A_2_0", "XTENSION", "ZCMPTYPE", "ZTILE1", "ZBITPIX", "ZNAXIS1"),
    *("TFIELDS", "TFORM1", "TTYPE1", "EXTNAME", "PV2_1", "CPDIS1", "BUNIT", "INHERIT", "LONPOLE"),
]  # fmt: skip


def mutated_cards(content, rng):
    """Give cards of a FITS header other values, add some, delete some."""
    for _ in range(rng.integers(1, 4)):
        found = [match.start() for match in re.finditer(rb"[A-Z0-9_-]{2,8} *= ", content) if match.start() % 80 == 0]
        if not found:
            return content
        where = found[rng.integers(len(found))]
        key = content[where : where + 8].decode()
        if rng.random() < 0.4:
            key = f"{rng.choice(_CARDS):<8}"
            ends = [match.start() for match in re.finditer(rb"END {77}", content) if match.start() % 80 == 0]
            # An added card takes the place of END, and END that of a blank one.
            if ends and rng.random() < 0.7 and content[ends[0] + 80 : ends[0] + 160] == b" " * 80:
                where = ends[0]
                content = content[: where + 80] + content[where : where + 80] + content[where + 160 :]
        card = f"{key}= {rng.choice(_CARD_VALUES):>20}"
        content = content[:where] + f"{card:<80}"[:80].encode() + content[where + 80 :]
    return content
