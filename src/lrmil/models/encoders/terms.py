"""The terms of the weights that a model is made from, and what they allow; unknown terms are reported as unknown.

This is not legal advice: it repeats cards and licences.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrmil.models.encoders.source import EncoderSource

UNKNOWN = "not known"
MAX_TEXT = 300  # characters of text from an untrusted model
FREE = ("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc-by-4.0", "cc0-1.0")


@dataclass(frozen=True, slots=True)
class EncoderTerms:
    """Terms of the weights of an encoder; None and "" mean unknown.

    Attributes
    ----------
    name
        Name that the user passed, without folders.
    licence
        As its card or timm states it.
    inherits
        True if its terms extend to a model that is trained on its outputs.
    gated
        True if its weights require an approved request.
    hub_id, revision
        Origin of the weights: repository and commit.
    random
        True if the weights are random, so that no terms apply.
    """

    name: str
    licence: str | None = None
    inherits: bool | None = None
    gated: bool | None = None
    hub_id: str = ""
    revision: str = ""
    random: bool = False

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready values; `read_terms` is the inverse."""
        return asdict(self)


def terms_of(source: "EncoderSource", *, pretrained: bool) -> EncoderTerms:
    """Return the terms of the weights of a source; `pretrained` is as in `load_encoder`."""
    if not pretrained:
        return EncoderTerms(source.name, random=True)
    if source.entry:
        entry = source.entry
        licence, inherits, gated = entry.licence, entry.inherits, entry.gated
        return EncoderTerms(source.name, licence, inherits, gated, source.hub_id or entry.hub_id, source.revision)
    stated = source.config.get("license")
    licence = stated[:MAX_TEXT] if isinstance(stated, str) and stated else None
    return EncoderTerms(source.name, licence, hub_id=source.hub_id, revision=source.revision)


def read_terms(values: object) -> EncoderTerms | None:
    """Parse the terms in a model folder; return None if they are invalid."""
    if not isinstance(values, Mapping) or not isinstance(values.get("name"), str):
        return None
    licence = values.get("licence")
    return EncoderTerms(
        name=_text(values["name"]),
        licence=_text(licence) if isinstance(licence, str) and licence else None,
        inherits=_flag(values.get("inherits")),
        gated=_flag(values.get("gated")),
        hub_id=_text(values.get("hub_id")),
        revision=_text(values.get("revision")),
        random=values.get("random") is True,
    )


def describe_terms(terms: EncoderTerms, role: str) -> str:
    """Describe terms in one line.

    Parameters
    ----------
    terms
        Terms of the weights.
    role
        "teacher", whose outputs the model was trained on, or "start", whose weights it started from.
    """
    if terms.random:
        return f"{terms.name} with random weights: no terms apply"
    where = f" ({terms.hub_id}{f' at {terms.revision[:12]}' if terms.revision else ''})" if terms.hub_id else ""
    text = f"{terms.name}{where}: {terms.licence or f'licence {UNKNOWN}'}"
    if terms.gated:
        text += "; available on request only"
    if role == "teacher" and terms.inherits is not None:
        text += "; its terms extend to this model" if terms.inherits else "; its terms do not extend to this model"
    return text


def permissions(teacher: EncoderTerms, start: EncoderTerms) -> dict[str, str]:
    """Answer what the known terms allow.

    Parameters
    ----------
    teacher
        Terms of the encoder whose outputs the model was trained on.
    start
        Terms of the weights that the model started from.

    Returns
    -------
    dict
        Question -> answer.
    """
    claims: list[tuple[EncoderTerms, bool | None]] = [] if start.random else [(start, True)]
    if not teacher.random and teacher != start and teacher.inherits is not False:
        claims.append((teacher, teacher.inherits))
    return {
        "Commercial use": _answer(claims, _forbids_commerce),
        "Redistribution": _answer(claims, _forbids_changes),
    }


def terms_warning(teacher: EncoderTerms, start: EncoderTerms) -> str:
    """Return what the known terms forbid for a model that is to be trained, or ""; arguments as in `permissions`."""
    answers = permissions(teacher, start).items()
    forbidden = [f" {question}: {answer}." for question, answer in answers if answer.startswith("no:")]
    return "The terms of the encoders restrict the model to be trained." + "".join(forbidden) if forbidden else ""


def _answer(claims: list[tuple[EncoderTerms, bool | None]], forbids: Callable[[EncoderTerms], bool]) -> str:
    doubts = []
    for terms, holds in claims:
        if (terms.licence or "").lower() in FREE:
            continue
        if holds and forbids(terms):
            return f"no: the terms of {terms.name} ({terms.licence}) forbid it"
        whether = "" if holds else "whether they extend to this model, and "
        doubts.append(f"the terms of {terms.name} ({terms.licence or UNKNOWN}) state {whether}what is allowed")
    if doubts:
        return f"{UNKNOWN} here: {'; '.join(doubts)}"
    return "not forbidden by the terms of the weights; the terms of the slides are not recorded"


def _forbids_commerce(terms: EncoderTerms) -> bool:
    licence = (terms.licence or "").lower()
    return "-nc" in licence or "non-commercial" in licence or "noncommercial" in licence or "research only" in licence


def _forbids_changes(terms: EncoderTerms) -> bool:
    """Return True for ND licences, which forbid sharing changed versions."""
    return "-nd" in (terms.licence or "").lower()


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: object) -> str:
    return str(value)[:MAX_TEXT] if isinstance(value, str) else ""
