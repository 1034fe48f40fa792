"""The scanner of a slide: make and model, never a serial number or a free description."""

import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import StringConstraints, with_config

from lrmil.io.plain_data import CLOSED

PLAIN = r"[A-Za-z0-9][A-Za-z0-9 .()/+-]{0,39}"  # what a make or a model looks like
MAKER = re.compile(  # in a make; one without it is of a converter, or text that has no place there
    r"\b(3dhistech|akoya|aperio|epredia|evident|fujifilm|grundium|hamamatsu|histech|huron|kfbio|leica|mikroscan|motic|"
    r"olympus|omnyx|optrascan|perkinelmer|philips|pramana|precipoint|roche|sakura|tissuegnostics|trestle|ventana|zeiss)\b",
    re.IGNORECASE,
)
SERIAL = re.compile(r"\d{6}")  # so many digits are a serial number or a date


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, order=True)
class Scanner:
    """Make and model of a scanner.

    Attributes
    ----------
    make
        Such as "Aperio".
    model
        Such as "GT450"; "" if the file states the make alone.
    """

    make: Annotated[str, StringConstraints(pattern=f"^{PLAIN}$")]
    model: Annotated[str, StringConstraints(pattern=f"^({PLAIN})?$")] = ""

    def __str__(self) -> str:
        return f"{self.make} {self.model}".rstrip()

    def may_be(self, other: Self) -> bool:
        """Return whether both may be the same: makes are equal, and models too where both are stated."""
        own, its = self.model.casefold(), other.model.casefold()
        return self.make.casefold() == other.make.casefold() and (own == its or not own or not its)


def scanner_of(make: object, model: object = "") -> Scanner | None:
    """Return the scanner of a make and a model in a file's metadata; None without the make of a known maker.

    Parameters
    ----------
    make, model
        Values of the metadata. What does not look like a make or a model counts as absent.
    """
    if not (plain := _plain(make)) or not MAKER.search(plain):
        return None
    named = _plain(model)
    if named.casefold().startswith(f"{plain.casefold()} "):
        named = named[len(plain) :].strip()
    return Scanner(plain, named)


def _plain(value: object) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return text if re.fullmatch(PLAIN, text) and not SERIAL.search(text) else ""
