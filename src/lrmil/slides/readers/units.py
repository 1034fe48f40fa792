"""Parse units of length as files write them: abbreviated, spelled out, plural, or with a broken micro sign."""

import html
import re
import unicodedata

MICRONS = {  # micrometres per unit: names in the singular, lower case, without accents
    1e-9: "fm femtometer",
    1e-6: "pm picometer",
    1e-4: "å angstrom",
    1e-3: "nm nanometer nanometro",
    1.0: "um u μm μ micron mikron micrometer mikrometer micrometro mum micm mcm mkm мкм микрон",
    1e3: "mm millimeter milimetro millimetro мм",
    1e4: "cm centimeter zentimeter centimetro см",
    1e5: "dm decimeter dezimeter decimetro",
    1e6: "m meter metro м",
    1e9: "km kilometer",
    25.4: "mil thou",
    25_400.0: 'in inch inches zoll "',
    304_800.0: "ft foot feet",
    914_400.0: "yd yard",
}
BY_NAME = {name: microns for microns, names in MICRONS.items() for name in names.split()}
ONE_BY_ONE = re.compile(r"\s*(?:/|per)\s*(?:px|pix|pixels?)\.?$")  # some files add "per pixel"
BROKEN_MICRO = re.compile(r"(?:[^\x00-\x7f]|\?|\\x[0-9a-f]{2}|\\[0-7]{3}|%[0-9a-f]{2}){1,4}m")
ESCAPED = re.compile(r"\\u\{?([0-9a-f]{4})\}?", re.IGNORECASE)  # a character as Java escapes it
NO_LENGTH = {"pixel", "pix", "px", "reference frame", "none", "voxel"}
SHOWN = re.compile(r"(?:[^\W\d_]|[?%./\"' ]){1,20}")  # no digits: they may identify a person


def microns_per(unit: object) -> float | None:
    r"""Return the micrometres in one unit of length, however it is written; None if it is unknown.

    A non-ASCII or escaped character before an m (``Âµm``, ``�m``, ``?m``, ``\xb5m``) is a broken micro sign: all other
    prefixes of a metre are ASCII letters, which no encoding breaks.
    """
    name = _folded(unit)
    known = BY_NAME.get(name) or BY_NAME.get(_spelt(name))
    broken = BROKEN_MICRO.fullmatch(name) or BROKEN_MICRO.fullmatch(str(unit).casefold().strip())
    return known or (1.0 if broken else None)


def is_no_length(unit: object) -> bool:
    """Return whether a unit is not a physical length, such as pixels."""
    return _folded(unit).removesuffix("s") in NO_LENGTH


def shown(unit: object) -> str:
    """Return a unit for a message: quote a short word, but not a longer text, which may be about a person."""
    text = str(unit).strip()
    return repr(text) if SHOWN.fullmatch(text) else f"a text of {len(text)} characters"


def _folded(unit: object) -> str:
    """Return a unit in lower case, normalised, with escapes resolved and without "per pixel"."""
    text = ESCAPED.sub(lambda found: chr(int(found[1], 16)), html.unescape(str(unit)))
    text = unicodedata.normalize("NFKC", text).casefold().strip(" \t\r\n\0.[]")
    return ONE_BY_ONE.sub("", text).strip()


def _spelt(name: str) -> str:
    """Return a name in American spelling and singular: micrometres and micro-mètre become micrometer."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    whole = re.sub(r"[\s_-]", "", plain).replace("metre", "meter")
    return whole.removesuffix("s") if len(whole) > len("mms") else whole
