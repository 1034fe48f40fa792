"""What a distilled encoder that the student starts from has seen of a cohort, without labels."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Never

from lrmil.cohorts.splits import Fold
from lrmil.configs import TrainConfig
from lrmil.errors import CohortError, names_of
from lrmil.models.encoders.distilled import EncoderCard, read_encoder_card
from lrmil.slides.inputs import local_encoder
from lrmil.steps import Step

START = "student_start"  # member of metrics.json


def look_at_start(
    config: TrainConfig, fingerprints: Mapping[str, str], folds: Sequence[Fold], *, strict: bool
) -> Generator[Step[Never], None, dict[str, object]]:
    """Look at what a distilled encoder that the student starts from has seen.

    Parameters
    ----------
    config
        Settings of the run.
    fingerprints
        Slide id -> fingerprint.
    folds
        The folds with test slides.
    strict
        Whether to refuse an encoder that has seen a test slide.

    Yields
    ------
    Step
        One per sentence about it.

    Returns
    -------
    dict
        Members of metrics.json; empty if the student starts from no such encoder.

    Raises
    ------
    CohortError, EncoderError
        As `require_unseen` and `read_start`.
    """
    card = read_start(config)
    if card is None:
        return {}
    found = start_figures(card, fingerprints, folds)
    if strict:
        require_unseen(found)
    messages = [start_remark(found), *unmatched(card, config)]
    for done, sentence in enumerate(messages, 1):
        yield Step(("student's encoder",), done, len(messages), message=sentence)
    return {START: found}


def read_start(config: TrainConfig) -> EncoderCard | None:
    """Read the card of the encoder that the student starts from; None if it was not distilled by lrmil.

    Raises
    ------
    EncoderError
        If its card is damaged, or it changed since.
    """
    folder = local_encoder(config.student_encoder or config.encoder)
    return read_encoder_card(folder) if folder is not None else None


def start_figures(card: EncoderCard, fingerprints: Mapping[str, str], folds: Iterable[Fold]) -> dict[str, object]:
    """Return the member `START` of metrics.json.

    Parameters
    ----------
    card
        Of the encoder.
    fingerprints
        Slide id -> fingerprint.
    folds
        The folds with test slides.

    Returns
    -------
    dict
        JSON-ready: "slides", how many slides the encoder was distilled on; "seen", how many of this cohort are among
        them; "tested", name of the fold -> its test slides that are.
    """
    seen = {slide_id for slide_id, fingerprint in fingerprints.items() if card.has_seen(fingerprint)}
    tested = {fold.name: sorted(seen.intersection(fold.test)) for fold in folds}
    return {"slides": len(card.seen), "seen": len(seen), "tested": {name: ids for name, ids in tested.items() if ids}}


def require_unseen(figures: Mapping[str, object]) -> None:
    """Require that the encoder has seen no test slide.

    Parameters
    ----------
    figures
        From `start_figures`.

    Raises
    ------
    CohortError
        With the slides.
    """
    if tested := tested_slides(figures):
        raise CohortError(
            f"Expected a student encoder that has seen no test slide. Got one that learned from {len(tested)} of them "
            f"without labels: {names_of(tested)}. Distil another without these slides, or leave --strict out."
        )


def start_remark(figures: object) -> str:
    """Say which slides the encoder had seen, from a member `START` that someone may have edited; "" without one."""
    if not isinstance(figures, Mapping):
        return ""
    tested, seen = tested_slides(figures), figures.get("seen")
    if tested:
        return (
            f"The encoder that the student started from had learned from {len(tested)} of the test slides before, "
            "without their labels. The student's figures on them may be too good."
        )
    return (
        "The encoder that the student started from was distilled before, on "
        f"{figures.get('slides')} slides without labels; {seen} of them are in this cohort, none is tested on."
    )


def unmatched(card: EncoderCard, config: TrainConfig) -> Sequence[str]:
    """Return how patches and embedding that the encoder was distilled for differ from those of a run, in sentences."""
    pairs = [
        ("um/px", card.mpp_lr, config.mpp_lr),
        ("um/px of its teacher", card.mpp_hr, config.mpp_hr),
        ("px", card.patch_size, config.patch_size),
    ]
    sentences = [
        f"The student's encoder was distilled at {own:g} {unit}, and this run is at {here:g}. More stage1.fit.steps "
        "may be needed."
        for unit, own, here in pairs
        if own != here
    ]
    if card.embedding != config.embedding:
        sentences.append(
            f'The student\'s encoder was distilled with embedding = "{card.embedding}", and this run has '
            f'"{config.embedding}". Use the same, or more stage1.fit.steps.'
        )
    return sentences


def tested_slides(figures: Mapping[str, object]) -> list[str]:
    """Return the test slides that the encoder has seen, from the result of `start_figures`."""
    tested = figures.get("tested")
    found = tested.values() if isinstance(tested, Mapping) else ()
    return sorted({str(slide_id) for ids in found if isinstance(ids, list) for slide_id in ids})
