"""Units of length as files write them: abbreviated, spelt out, in the plural, or with a micro sign that got broken."""

import html
import re
import unicodedata

MICRONS = {  # micrometres in one unit, by its name in the singular, folded to lower case and without accents
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
ONE_BY_ONE = re.compile(r"\s*(?:/|per)\s*(?:px|pix|pixels?)\.?$")  # the "per pixel" that some add
BROKEN_MICRO = re.compile(r"(?:[^\x00-\x7f]|\?|\\x[0-9a-f]{2}|\\[0-7]{3}|%[0-9a-f]{2}){1,4}m")
ESCAPED = re.compile(r"\\u\{?([0-9a-f]{4})\}?", re.IGNORECASE)  # as Java writes a character
NO_LENGTH = {"pixel", "pix", "px", "reference frame", "none", "voxel"}
SHOWN = re.compile(r"(?:[^\W\d_]|[?%./\"' ]){1,20}")  # no digits: no numbers of people


def microns_per(unit: object) -> float | None:
    """Give the micrometres in one unit of length, however it is written; None where it is not known.

    A sign that only an encoding can have put before an m (``Âµm``, ``�m``, ``?m``, ``\\xb5m``) is a broken micro sign:
    the other prefixes of a metre are letters of ASCII, which no encoding breaks.
    """
    name = _folded(unit)
    known = BY_NAME.get(name) or BY_NAME.get(_spelt(name))
    broken = BROKEN_MICRO.fullmatch(name) or BROKEN_MICRO.fullmatch(str(unit).casefold().strip())
    return known or (1.0 if broken else None)


def is_no_length(unit: object) -> bool:
    """Whether a unit says that nothing was measured: pixels."""
    return _folded(unit).removesuffix("s") in NO_LENGTH


def shown(unit: object) -> str:
    """Give a unit for a sentence: a short word is quoted; a text, which may be about a person, is not."""
    text = str(unit).strip()
    return repr(text) if SHOWN.fullmatch(text) else f"a text of {len(text)} characters"


def _folded(unit: object) -> str:
    """Lower case, one form of each sign, escapes resolved, no "per pixel"."""
    text = ESCAPED.sub(lambda found: chr(int(found[1], 16)), html.unescape(str(unit)))
    text = unicodedata.normalize("NFKC", text).casefold().strip(" \t\r\n\0.[]")
    return ONE_BY_ONE.sub("", text).strip()


def _spelt(name: str) -> str:
    """Spell a name as in American English, in the singular: micrometres, micro-mètre and micrometers are one."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    whole = re.sub(r"[\s_-]", "", plain).replace("metre", "meter")
    return whole.removesuffix("s") if len(whole) > len("mms") else whole
