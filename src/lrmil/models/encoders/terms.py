"""Whose weights a model is made of, on what terms, and what follows from them; what is not known is said to be so.

This is no legal advice: it repeats what cards and licences say.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from lrmil.models.encoders.source import EncoderSource

UNKNOWN = "not known"
MAX_TEXT = 300  # characters of what a stranger's model says
FREE = ("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc-by-4.0", "cc0-1.0")


@dataclass(frozen=True, slots=True)
class EncoderTerms:
    """Terms of an encoder's weights; None and "" stand for what is not known.

    Attributes
    ----------
    name
        What the user called it, without folders.
    licence
        As its card or timm states it.
    inherits
        Whether its terms hold for a model that is trained on its outputs, too.
    gated
        Whether its weights are given only on request.
    hub_id, revision
        Where the weights come from.
    random
        The weights were drawn: nobody's terms hold.
    """

    name: str
    licence: str | None = None
    inherits: bool | None = None
    gated: bool | None = None
    hub_id: str = ""
    revision: str = ""
    random: bool = False

    def to_dict(self) -> dict[str, object]:
        """JSON-ready; the inverse of `read_terms`."""
        return asdict(self)


def terms_of(source: EncoderSource, *, pretrained: bool) -> EncoderTerms:
    """Terms of the weights that a source stands for."""
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
    """Terms that a model folder states, None where they are not such."""
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
    """Say in one line on what terms the weights are; `role` is "teacher" or "start"."""
    if terms.random:
        return f"{terms.name} with random weights: nobody's terms"
    where = f" ({terms.hub_id}{f' at {terms.revision[:12]}' if terms.revision else ''})" if terms.hub_id else ""
    said = f"{terms.name}{where}: {terms.licence or f'licence {UNKNOWN}'}"
    if terms.gated:
        said += "; given on request only"
    if role == "teacher" and terms.inherits is not None:
        said += "; its terms hold for this model, too" if terms.inherits else "; its terms do not hold for this model"
    return said


def what_may_be_done(teacher: EncoderTerms, start: EncoderTerms) -> dict[str, str]:
    """Question -> answer for a model distilled from `teacher` that began as `start`."""
    claims: list[tuple[EncoderTerms, bool | None]] = [] if start.random else [(start, True)]
    if not teacher.random and teacher != start and teacher.inherits is not False:
        claims.append((teacher, teacher.inherits))
    return {
        "Commercial use": _answer(claims, _forbids_commerce),
        "Passing it on": _answer(claims, _forbids_changes),
    }


def warning_before_training(teacher: EncoderTerms, start: EncoderTerms) -> str:
    """What must be known before a model is made, "" when the terms that are known forbid nothing."""
    answers = what_may_be_done(teacher, start).items()
    forbidden = [f"{question.lower()}: {answer}" for question, answer in answers if answer.startswith("no:")]
    return f"The model to be trained is bound by the terms of others. {'; '.join(forbidden)}." if forbidden else ""


def _answer(claims: list[tuple[EncoderTerms, bool | None]], forbids: Callable[[EncoderTerms], bool]) -> str:
    doubts = []
    for terms, holds in claims:
        if (terms.licence or "").lower() in FREE:
            continue
        if holds and forbids(terms):
            return f"no: the terms of {terms.name} ({terms.licence}) forbid it"
        whether = "" if holds else "whether they hold for it, and "
        doubts.append(f"the terms of {terms.name} ({terms.licence or UNKNOWN}) say {whether}what is allowed")
    if doubts:
        return f"{UNKNOWN} here: {'; '.join(doubts)}"
    return "not forbidden by the terms of the weights it is made of; those of the slides are not recorded"


def _forbids_commerce(terms: EncoderTerms) -> bool:
    licence = (terms.licence or "").lower()
    return "-nc" in licence or "non-commercial" in licence or "noncommercial" in licence or "research only" in licence


def _forbids_changes(terms: EncoderTerms) -> bool:
    """Changed versions may not be shared: what ND stands for."""
    return "-nd" in (terms.licence or "").lower()


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: object) -> str:
    return str(value)[:MAX_TEXT] if isinstance(value, str) else ""
