"""Where the slides that a model learned from come from: keyed hashes of their sites, and their scanners."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Self

from pydantic import Field, with_config

from lrmil.io.plain_data import CLOSED, Whole
from lrmil.models.keyed_hashes import Hash, Key, find_member, keyed_hash, new_key
from lrmil.slides.scanner import Scanner

ORIGINS = "origins"  # member of bundle.json
MAX_SITES = 10_000
MAX_SCANNERS = 1000
UNSEEN = "was in no training slide"

Count = Annotated[Whole, Field(ge=0)]


@with_config(CLOSED)
@dataclass(frozen=True, slots=True)
class Origins:
    """Sites and scanners of the slides that a model learned from, or that selected or calibrated it.

    Attributes
    ----------
    key
        Key of the hashes, in hex.
    sites
        Sorted hashes of the names of the sites.
    without_site
        Number of slides without a site in the labels table.
    scanners
        Sorted scanners, as the files of the slides state them.
    without_scanner
        Number of slides whose file states none, or whose features are of an earlier version.
    """

    key: Key
    sites: Annotated[tuple[Hash, ...], Field(max_length=MAX_SITES)]
    without_site: Count
    scanners: Annotated[tuple[Scanner, ...], Field(max_length=MAX_SCANNERS)]
    without_scanner: Count

    def lacks_site(self, site: str | None) -> bool:
        """Return whether no slide was of this site; False where the slide or all of them have none."""
        return bool(site and self.sites) and keyed_hash(self.key, "site", str(site)) not in self.sites

    def lacks_scanner(self, scanner: Scanner | None) -> bool:
        """Return whether no slide was of this scanner; False where the slide or all of them state none."""
        return bool(scanner and self.scanners) and not any(map(scanner.may_be, self.scanners))  # type: ignore[union-attr]

    def to_dict(self) -> dict[str, object]:
        """Return what bundle.json states."""
        return {**asdict(self), "sites": list(self.sites), "scanners": [asdict(one) for one in self.scanners]}

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> Self | None:
        """Return what bundle.json states; None in those of earlier versions, or where nothing is known.

        Raises
        ------
        FormatError
            As `lrmil.models.learned_from.LearnedFrom.from_dict`.
        """
        return find_member(document, ORIGINS, cls)


def keep_origins(sites: Sequence[str | None], scanners: Sequence[Scanner | None], origin: object) -> Origins | None:
    """Return the origins of slides; None if nothing is known of any of them, or they are too many.

    Parameters
    ----------
    sites, scanners
        Of each slide.
    origin
        As for `lrmil.models.keyed_hashes.new_key`.
    """
    known_sites, known_scanners = {one for one in sites if one}, {one for one in scanners if one}
    if not known_sites and not known_scanners:
        return None
    if len(known_sites) > MAX_SITES or len(known_scanners) > MAX_SCANNERS:
        return None
    key = new_key(ORIGINS, origin)
    return Origins(
        key,
        tuple(sorted(keyed_hash(key, "site", site) for site in known_sites)),
        sum(not one for one in sites),
        tuple(sorted(known_scanners)),
        sum(not one for one in scanners),
    )


def scanner_note(origins: Origins | None, scanner: Scanner | None, *, calibrated: bool) -> tuple[str, ...]:
    """Return a sentence for a prediction if no training slide is of its scanner; () if one is, or that is not known.

    Parameters
    ----------
    origins
        What the model keeps of its slides, if it does.
    scanner
        Of the slide, if its file states one.
    calibrated
        Whether the model is calibrated.
    """
    if origins is None or not origins.lacks_scanner(scanner):
        return ()
    which = " that states its scanner" if origins.without_scanner else ""
    what = "the calibration" if calibrated else "what was measured of the model"
    return (f"The scanner {scanner} {UNSEEN}{which}: {what} may not hold.",)


def unseen_remarks(
    origins: Origins | None, sites: Sequence[str | None], notes: Sequence[Iterable[str]]
) -> tuple[str, ...]:
    """Return how many slides are of sites and scanners that no training slide is of, as sentences.

    Parameters
    ----------
    origins
        What the model keeps of its slides, if it does.
    sites, notes
        Of each slide: its site, and the notes of its prediction.
    """
    if origins is None:
        return ()
    unseen = [site for site in sites if origins.lacks_site(site)]
    strange = sum(any(UNSEEN in note for note in own) for own in notes)
    found = []
    if unseen:
        which = " that has a site" if origins.without_site else ""
        places = f"{len(set(unseen))} site{'' if len(set(unseen)) == 1 else 's'}"
        found.append(f"{_slides(unseen, sites)} of {places} that no training slide{which} is of.")
    if strange:
        which = " that states its scanner" if origins.without_scanner else ""
        found.append(f"{_slides(range(strange), sites)} of a scanner that {UNSEEN}{which}.")
    return tuple(found)


def _slides(some: Sequence[object], every: Sequence[object]) -> str:
    return f"{len(some)} of these {len(every)} slides {'is' if len(some) == 1 else 'are'}"
