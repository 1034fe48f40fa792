"""Write the report of a run: RUN/report.html, one self-contained page, and RUN/report.json with the same figures."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from lrmil.configs import TrainConfig
from lrmil.errors import ConfigError, FormatError, LrmilError, names_of
from lrmil.features.store import read_card, read_index
from lrmil.io import atomic
from lrmil.io.documents import require_no_links
from lrmil.io.ownership import is_page, is_report, require_free
from lrmil.io.plain_files import is_plain
from lrmil.io.redaction import redact_paths
from lrmil.prediction.attention import attention_raster, percentile_rank
from lrmil.raster import Raster
from lrmil.reports.by_name import by_name
from lrmil.reports.by_site import by_site
from lrmil.reports.case_rule_words import case_rule_words
from lrmil.reports.closer_look import closer_look
from lrmil.reports.decision_facts import decision_sentences
from lrmil.reports.figures import RocLine, colour_bar, loss_svg, roc_svg, slide_pictures
from lrmil.reports.more_figures import more_figures
from lrmil.reports.page import environment
from lrmil.reports.run_data import Report, gather, hidden_folders, read_json
from lrmil.reports.slide_results import SlideResult
from lrmil.reports.trust_figures import trust_svgs
from lrmil.runs.arms import ARM_NAMES, FINISH, STAGE_NAMES, answering, encoded_of, features_of
from lrmil.runs.chosen_heads import choices_in
from lrmil.runs.fold_outputs import SlideOutput, read_outputs
from lrmil.runs.plan_file import read_plan, settings_hashes
from lrmil.slides.search import find_named
from lrmil.tasks.choice import kind_in, task_in
from lrmil.tasks.classification import Classification
from lrmil.tasks.task import Task

log = logging.getLogger(__name__)

# Errors that documents cause which were edited by hand.
DAMAGED = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, OSError, jinja2.TemplateError)
FINISHED = ("splits.csv", "environment.json", "problems.json", "predictions.csv", "metrics.json", "model/bundle.json")


def write_report(run_folder: Path, *, examples: int = 6) -> Path:
    """Write report.html and report.json of a finished run.

    Parameters
    ----------
    run_folder
        The --out folder of `lrmil train`.
    examples
        Number of test slides to show with their attention.

    Returns
    -------
    Path
        report.html.

    Raises
    ------
    FormatError
        If the folder is not a run, or the run is not finished or damaged.
    ConfigError
        If `examples` is negative.
    OverwriteError
        If a file that is not a report has the name of one.
    """
    run = Path(run_folder)
    if examples < 0:
        raise ConfigError(f"Expected 0 or more example slides. Got {examples}.")
    _require_finished(run)
    require_no_links(run)
    require_free(run / "report.json", is_report)
    require_free(run / "report.html", is_page)
    try:
        report = gather(run)
        chosen = choose_examples(report.slides, examples, kind_in(report.figures))
        page = render(report, chosen, _pictures(run, chosen))
    except DAMAGED as error:
        if isinstance(error, LrmilError):
            raise
        raise FormatError(
            f"The documents of the run at {run} are damaged ({type(error).__name__}: {error}). "
            "Run the same lrmil train command again."
        ) from error
    atomic.write_json(run / "report.json", asdict(report), is_report)
    atomic.write_text(run / "report.html", page, is_page)
    return run / "report.html"


def choose_examples(slides: Sequence[SlideResult], count: int, task: type[Task] = Classification) -> list[SlideResult]:
    """Choose test slides to show; the labels take turns.

    Up to two thirds are wrong ones, the most confident first; correct ones follow in their order.

    Parameters
    ----------
    slides
        All test slides.
    count
        How many to choose at most.
    task
        Which answers are wrong.
    """
    ordered = errors_first(slides, task)
    wrong = _in_turn([s for s in ordered if _is_wrong(s, task)])
    correct = _in_turn([s for s in ordered if not _is_wrong(s, task)])
    room = max(count - count // 3, count - len(correct))
    shown = wrong[:room]
    return shown + correct[: count - len(shown)]


def errors_first(slides: Sequence[SlideResult], task: Task | type[Task]) -> list[SlideResult]:
    """Order test slides: those on which the student is wrong, the most confident first; the others keep their order.

    Parameters
    ----------
    slides
        All test slides.
    task
        Which answers are wrong.
    """
    wrong = [s for s in slides if _is_wrong(s, task)]
    others = [s for s in slides if not _is_wrong(s, task)]
    return sorted(wrong, key=lambda s: -max(s.probabilities["lr_student"])) + others


def render(report: Report, examples: Sequence[SlideResult], pictures: Mapping[str, Mapping[str, str] | str]) -> str:
    """Return the HTML of the report.

    Parameters
    ----------
    report
        Its content.
    examples
        Test slides to show.
    pictures
        Slide id -> data URLs of "slide", "lr_student" and "hr_teacher", or why there are none.
    """
    pages, task = environment(), task_in(report.figures)
    pages.filters |= {"figure": figure, "figures": figures, "signed": signed, "size": size, "p_value": p_value}
    curves = [roc_svg(*_roc_lines(report, name, arms)) for name, arms in report.roc.items() if arms]
    stages = {STAGE_NAMES[stage]: lines for stage, lines in report.losses.items()}
    return pages.get_template("report.html").render(
        report=report,
        task=task,
        words=task.wording,
        score=task.score_name,
        score_title=task.figures[task.score_name],
        arm_names=ARM_NAMES,
        more=more_figures(report.figures, task, finished=FINISH in report.losses),
        by_name=by_name(report.figures, task),
        closer=closer_look(report.figures),
        decisions=decision_sentences(report.figures, task),
        case_rule=case_rule_words(report.figures),
        by_site=by_site(report.figures, task),
        examples=examples,
        pictures=pictures,
        colour_bar=colour_bar(),
        slides=errors_first(report.slides, task),
        heads=choices_in(report.figures),
        roc=[Markup(curve) for curve in curves],  # SVG in which matplotlib escaped the names
        trust=[Markup(drawn) for drawn in trust_svgs(report.trust, task.names)] if report.trust else [],
        losses=Markup(loss_svg(stages)),
    )


def figure(value: float | None, digits: int = 3) -> str:
    """Format a figure with `digits` decimals; None is "not defined"."""
    return "not defined" if value is None else f"{value:.{digits}f}"


def figures(value: float | Sequence[float] | None) -> str:
    """Give a figure, or both ends of an interval."""
    return " to ".join(map(figure, value)) if isinstance(value, Sequence) else figure(value)


def signed(value: float | Sequence[float] | None) -> str:
    """Give a difference, or both ends of its interval, with their signs."""
    if isinstance(value, Sequence):
        return " to ".join(map(signed, value))
    return "not defined" if value is None else f"{value:+z.3f}"


def p_value(value: float | None) -> str:
    """Format a p value with two digits, and those too small for three decimals as such; None is "not defined"."""
    if value is None:
        return "not defined"
    return "below 0.001" if value < 0.001 else f"{value:.2g}"


def size(value: float | None) -> str:
    """Format an amount with three digits and no exponent; None is "not defined"."""
    if value is None:
        return "not defined"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _require_finished(run: Path) -> None:
    if not is_plain(run / "plan.toml"):
        raise FormatError(
            f"There is no run at {run}: it has no plan.toml. Pass the folder that was given to lrmil train as --out."
        )
    settings = settings_hashes(run)
    missing = [name for name in FINISHED if not is_plain(run / name)]
    if not missing and _model_settings(run) not in settings:
        missing = ["a model trained with the settings of plan.toml"]
    if missing:
        raise FormatError(
            f"The run at {run} is not finished: it has no {', no '.join(missing)}. "
            "Run the same lrmil train command again; it resumes where it stopped."
        )


def _model_settings(run: Path) -> object:
    try:
        return read_json(run / "model/bundle.json")["training"]["settings_sha256"]
    except (KeyError, TypeError):
        return None


def _pictures(run: Path, examples: Sequence[SlideResult]) -> dict[str, dict[str, str] | str]:
    config, slides, labels = read_plan(run)
    hidden = hidden_folders(run, slides, labels)
    paths = find_named(Path(slides), [result.slide_id for result in examples])
    if gone := [result.slide_id for result in examples if result.slide_id not in paths]:
        log.warning(_not_found(gone, Path(slides)))
    outputs = {fold: read_outputs(run / fold) for fold in {result.fold for result in examples}}
    pictures: dict[str, dict[str, str] | str] = {}
    for result in examples:
        path = paths.get(result.slide_id)
        try:
            if path is None or not path.exists():
                raise FormatError("The slide is no longer where it was during training.")
            student = answering("lr_student", finished=config.finishes)
            card = read_card(encoded_of(run, result.fold, result.slide_id, student))
            maps = _maps(run, config, result, outputs[result.fold])
            pictures[result.slide_id] = slide_pictures(
                path, maps, mpp=card.slide_mpp, fingerprint=card.slide_fingerprint
            )
        except LrmilError as error:
            pictures[result.slide_id] = str(redact_paths(str(error), hidden))
    return pictures


def _not_found(slide_ids: Sequence[str], slides: Path) -> str:
    """Return which slides have no picture, where they were looked for, and what to do."""
    remedy = "If they were moved, run lrmil train again with their new path; finished work is kept."
    if not slides.is_absolute():
        remedy = f"The plan of the run says only '{slides}': run this in the folder in which the run was trained."
    return f"The report has no pictures of {names_of(slide_ids)}, which are not in {slides.absolute()}. {remedy}"


def _maps(
    run: Path, config: TrainConfig, result: SlideResult, outputs: Mapping[str, Mapping[str, SlideOutput]]
) -> dict[str, Raster]:
    maps = {}
    for arm in ("lr_student", "hr_teacher"):
        made = answering(arm, finished=config.finishes)
        path = features_of(run, result.fold, result.slide_id, made, teacher=config.teacher)
        grid = read_card(path).grid
        attention = outputs[arm][result.slide_id].attention_logits
        maps[arm] = percentile_rank(
            attention_raster(attention, read_index(path), step_level0=grid.step_level0, origin_yx=grid.origin_yx)
        )
    return maps


def _roc_lines(report: Report, name: str, arms: Mapping[str, dict[str, list[float]]]) -> tuple[str, list[RocLine]]:
    """Return the title and the ROC curves of one class, each with its area."""
    lines = []
    for arm, points in arms.items():
        rates = points["false_positive_rate"], points["true_positive_rate"]
        lines.append(RocLine(arm, f"{ARM_NAMES[arm]}: AUROC {np.trapezoid(rates[1], rates[0]):.3f}", *rates))
    return f"{name} against the rest" if len(report.roc) > 1 else f"positive class: {name}", lines


def _is_wrong(result: SlideResult, task: Task | type[Task]) -> bool:
    return bool(task.is_wrong(result.label, result.predicted["lr_student"]))


def _in_turn(results: Sequence[SlideResult]) -> list[SlideResult]:
    """Order results so that the labels take turns; each label keeps its order."""
    seen: dict[str, int] = {}
    turns: list[tuple[int, int]] = []
    for index, result in enumerate(results):
        seen[result.label] = seen.get(result.label, 0) + 1
        turns.append((seen[result.label], index))
    return [results[index] for _, index in sorted(turns)]
