"""Say in words how a model decides, and what its abstention brought on test slides."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lrmil.models.familiarity import MAX_UNREAD, Familiarity
from lrmil.models.kept_teacher import TeacherCard
from lrmil.operating_point import Rate
from lrmil.prediction.doubts import doubts_in_words
from lrmil.runs.arms import CALIBRATION
from lrmil.tasks.abstention import Abstention, abstention_in_words
from lrmil.tasks.decision import Decision
from lrmil.tasks.task import Task


def decision_facts(
    decision: Decision, task: Task, metrics: Mapping[str, object], familiarity: Familiarity | None = None
) -> dict[str, str]:
    """Return how a model decides: name -> sentence; empty for a model that answers with its most probable class.

    Parameters
    ----------
    decision
        The rules.
    task
        What is predicted.
    metrics
        Those of its run, in any form.
    familiarity
        What it knows of familiar slides.
    """
    facts = {}
    if point := decision.operating_point:
        slides = sum(map(sum, point.confusion))
        facts["Operating point"] = (
            f"{task.names[-1]} from a probability of {point.threshold:.3f} on ({point.rule}); on {slides} slides that "
            f"the attention network had not seen, sensitivity {_rate(point.sensitivity)}, specificity "
            f"{_rate(point.specificity)}"
        )
    doubts = []
    if sets := decision.sets:
        kept = "in each class" if sets.by_class else "over all classes"
        doubts.append(f"not exactly one class is plausible (sets that cover {sets.coverage:.0%} {kept})")
    if risk := decision.risk:
        doubts.append(
            f"the answer is less sure than {risk.limit:.3f}, from where on at most {risk.max_risk:.0%} are wrong "
            f"({risk.errors} of {risk.answered} were)"
        )
    if familiarity:
        doubts.append(
            f"a slide is unlike the {familiarity.slides} that it learned from in colours or tissue, has fewer than "
            f"{familiarity.fewest_patches} patches, or more than {MAX_UNREAD:.0%} of them could not be read"
        )
    if doubts:
        facts["Uncertain where"] = ", or ".join(doubts)
    found = _abstention(metrics)
    return facts | ({"Test, abstention": abstention_in_words(found)} if found else {})


def teacher_facts(teacher: TeacherCard | None, mpp: float) -> dict[str, str]:
    """Return what a model says of the teacher that it keeps: name -> sentence.

    Parameters
    ----------
    teacher
        Its card; None gives nothing.
    mpp
        Resolution of the model's own patches, um/px.
    """
    if teacher is None:
        return {}
    several = "region" if teacher.regions == 1 else f"{teacher.regions} regions"
    return {
        "A closer look": (
            f"the model keeps its teacher, whose weights have terms of their own (see below). On request it looks into "
            f"the {several} of an uncertain slide with most attention, at {teacher.mpp:g} instead of {mpp:g} um/px; "
            f"calibrated by {teacher.calibration.slides} slides that neither attention network had seen"
        )
    }


def decision_sentences(metrics: Mapping[str, Any], task: Task) -> list[str]:
    """Return how the model of each fold of a run decides, and what abstention brought on the test slides.

    Parameters
    ----------
    metrics
        Content of metrics.json.
    task
        What is predicted.
    """
    by_fold = (metrics.get(CALIBRATION) or {}).get("by_fold", {})
    stated = {fold: one["decision"] for fold, one in by_fold.items() if one.get("decision")}
    sentences = []
    for fold, decision in stated.items():
        facts = decision_facts(TypeAdapter(Decision).validate_python(decision), task, {})
        sentences += [f"{fold}: {name.lower()} {said}." for name, said in facts.items()]
    if found := _abstention(metrics):
        sentences.append(abstention_in_words(found))
        counts = {doubts_in_words([reason], task): count for reason, count in found["reasons"].items()}
        sentences += (
            ["Why: " + "; ".join(f"{words} ({count})" for words, count in counts.items()) + "."] if counts else []
        )
    return sentences


def _abstention(metrics: Mapping[str, object]) -> Abstention | None:
    """Return what abstention brought, if the maker of the model stated it."""
    stated = metrics.get(CALIBRATION)
    try:
        return TypeAdapter(Abstention).validate_python(stated.get("abstention") if isinstance(stated, dict) else None)
    except ValidationError:
        return None


def _rate(rate: Rate) -> str:
    return f"{rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f})"
