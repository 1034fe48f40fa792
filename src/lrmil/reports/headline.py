"""What a run found, in the sentences at the top of its report."""

from collections.abc import Mapping, Sequence
from typing import Any

from lrmil.reports.slide_results import SlideResult
from lrmil.runs.differences import difference_sentence, find_differences
from lrmil.runs.distilled_start import START, tested_slides
from lrmil.tasks.task import Task

OTHERS = {"hr_teacher": "its high-resolution teacher", "lr_undistilled": "the undistilled baseline"}


def headline(figures: Mapping[str, Any], task: Task, slides: Sequence[SlideResult]) -> str:
    """Return on whom the student was tested, what it and the others reached, and whether the run can tell them apart.

    Parameters
    ----------
    figures
        Content of metrics.json.
    task
        What is predicted.
    slides
        The test slides.
    """
    name, student = task.score_name, figures["lr_student"]
    title = task.figures[name]
    tested = f"On {_tested(slides)} that {_unseen(figures)}"
    if student[name] is None:
        return f"{tested}, the {title} of the distilled low-resolution student is not defined."
    found = find_differences(figures)
    sentences = [difference_sentence(title, arm, found[arm]) for arm in OTHERS if arm in found]
    reached = _reached(figures, task)
    start = f"{tested}, the distilled low-resolution student reached"
    if student.get("by_case") is None:
        return " ".join([f"{start} {reached}.", *sentences])
    of_patients = {arm: figures[arm]["by_case"] for arm in ("lr_student", *OTHERS)}
    by_patient = f"{start}, by patient, {_reached(of_patients, task)}. By slide, it reached {reached}."
    return " ".join([by_patient, *sentences])


def _reached(figures: Mapping[str, Any], task: Task) -> str:
    """Give the score of the student, and those of the others."""
    name, student = task.score_name, figures["lr_student"]
    others = ", ".join(f"{words} {_figure(figures[arm][name])}" for arm, words in OTHERS.items())
    return f"{task.figures[name]} {_figure(student[name])}{_interval(student, task)}; {others}"


def _tested(slides: Sequence[SlideResult]) -> str:
    """Count patients and slides; a table without patients has the slides as cases."""
    cases = {slide.case_id for slide in slides}
    if all(slide.case_id == slide.slide_id for slide in slides):
        return _count(len(slides), "slide")
    return f"{_count(len(cases), 'patient')} ({_count(len(slides), 'slide')})"


def _unseen(figures: Mapping[str, Any]) -> str:
    start = figures.get(START)
    if isinstance(start, Mapping) and tested_slides(start):
        return "no arm had learned from, though the encoder that the student started from had,"
    return "the models had not seen"


def _interval(student: Mapping[str, Any], task: Task) -> str:
    """Give the figures that belong to the score, such as its interval, in brackets."""
    found = [
        f"{title} {' to '.join(map(_figure, value)) if isinstance(value, list) else _figure(value)}"
        for name, title in task.figures.items()
        if name.startswith(f"{task.score_name}_") and (value := student.get(name)) is not None
    ]
    return f" ({', '.join(found)})" if found else ""


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
