"""Describe a model by its card for a person to read; missing facts are reported as not recorded."""

from lrmil.errors import FormatError
from lrmil.io.redaction import redact_paths
from lrmil.models.card import ModelCard
from lrmil.models.encoders.terms import describe_terms, permissions, read_terms
from lrmil.reports.decision_facts import decision_facts, teacher_facts
from lrmil.runs.arms import ARM_NAMES, CALIBRATION
from lrmil.runs.chosen_heads import NAME, choices_in, reason_of
from lrmil.runs.differences import difference_sentence, find_differences
from lrmil.runs.stage1_figures import find_stage1, shortfall
from lrmil.runs.tested import measurement_of
from lrmil.tasks.case_rule import RULE_WORDS
from lrmil.tasks.task import Task

UNKNOWN = "not recorded"


def model_facts(card: ModelCard) -> dict[str, str]:
    """List the facts of a card: what is predicted, resolution, training, metrics of arms and stage 1, licence, hash.

    Training and metrics may have any form, since the author of the model wrote them. Folders are removed from paths.

    Returns
    -------
    dict
        Name -> value, in the order to show them.
    """
    facts = {
        card.task.wording.names: ", ".join(card.task.names),
        "Reads": f"{card.patch_size} px patches at {card.mpp:g} um/px",
        "MIL head": _head(card),
        "Answer for a patient": RULE_WORDS[card.case_rule],
        **_training(card.training),
        **_learned_from(card),
        **_origins(card),
        "Tested": found.sentence if (found := measurement_of(card.training, card.metrics, card.task)) else UNKNOWN,
        **{f"Test, {name}": _arm(card.metrics.get(arm), card.task) for arm, name in ARM_NAMES.items()},
        **_calibration(card),
        **decision_facts(card.decision, card.task, card.metrics, card.familiarity),
        **teacher_facts(card.teacher, card.mpp),
        **_differences(card),
        **_stage1(card.metrics, card.training),
        "Licence": card.license,
        **_terms(card.terms),
    }
    shown: dict[str, str] = redact_paths(facts, [])
    return {**shown, "Hash": card.sha256}


def _training(training: dict[str, object]) -> dict[str, str]:
    counts = [f"{training[name]} {name}" for name in ("slides", "cases") if name in training]
    made = [f"on {training['date']}"] if "date" in training else []
    made += [f"with version {training['version']}"] if "version" in training else []
    settings = training.get("settings")
    networks = [settings.get(name) for name in ("encoder", "student_encoder")] if isinstance(settings, dict) else []
    facts = {"Trained on": (" of ".join(counts) or UNKNOWN) + _validated(training)}
    facts |= {"Trained": ", ".join(made)} if made else {}
    facts |= {"Networks": ", ".join(str(name) for name in networks if name)} if any(networks) else {}
    facts |= _finish(settings.get("finish")) if isinstance(settings, dict) else {}
    return facts | ({"Remark": str(training["remark"])} if training.get("remark") else {})


def _learned_from(card: ModelCard) -> dict[str, str]:
    """Say how many slides and cases a model knows again; models of earlier versions know none."""
    if (learned := card.learned_from) is None:
        return {}
    return {"Knows again": f"{len(learned.slides)} slides of {len(learned.cases)} cases, by keyed hashes"}


def _origins(card: ModelCard) -> dict[str, str]:
    """Say of how many sites and of which scanners the training slides are; models of earlier versions do not know."""
    if (origins := card.origins) is None:
        return {}
    without = f"; {origins.without_scanner} slides state none" if origins.without_scanner else ""
    scanners = {"Scanners": ", ".join(map(str, origins.scanners)) + without} if origins.scanners else {}
    return ({"Sites": f"{len(origins.sites)}, by keyed hashes"} if origins.sites else {}) | scanners


def _validated(training: dict[str, object]) -> str:
    """Say what became of the validation slides: they selected, or the MIL learned from them too."""
    count, schedule = training.get("validation_slides"), training.get("schedule")
    if not count or schedule not in ("selected", "fixed"):
        return ""
    return f", selected on {count} more" if schedule == "selected" else f"; the MIL also on {count} validation slides"


def _differences(card: ModelCard) -> dict[str, str]:
    """Say whether the student differs from the other arms; models of earlier versions do not state it."""
    title = card.task.figures[card.task.score_name]
    found = [difference_sentence(title, arm, one) for arm, one in find_differences(card.metrics).items()]
    return {"Test, difference": " ".join(found)} if found else {}


def _calibration(card: ModelCard) -> dict[str, str]:
    """Say on how many slides a model was calibrated and what became of its figures, or that it was not."""
    if card.calibration is None:
        return {"Calibration": "not calibrated; the values are as the network gives them"}
    stated = card.metrics.get(CALIBRATION)
    after = stated.get("after") if isinstance(stated, dict) else None
    facts = {
        "Calibration": f"Platt scaling by {card.calibration.slides} slides that the attention network had not seen"
    }
    return facts | ({"Test, LR student calibrated": _arm(after, card.task)} if after else {})


def _head(card: ModelCard) -> str:
    """Name the head, and say why if a training chose it."""
    members = card.head.members
    name = f"{members.head}, {members.count} members" if members else card.head.head
    try:
        (choice,) = choices_in({NAME: {"": card.training[NAME]}}).values()
    except (FormatError, KeyError):
        return name
    return f"{name}; {reason_of(choice)}"


def _finish(stated: object) -> dict[str, str]:
    """Describe the end-to-end finish, if there was one."""
    if not isinstance(stated, dict) or not stated.get("epochs"):
        return {}
    epochs = f"{stated['epochs']} epoch{'' if stated['epochs'] == 1 else 's'}"
    return {"End-to-end finish": f"{epochs} on {stated.get('patches', UNKNOWN)} patches of a slide a step"}


def _stage1(metrics: dict[str, object], training: dict[str, object]) -> dict[str, str]:
    """Describe how well the LR encoder and its start, or a linear map of each, match the teacher's embeddings."""
    found = find_stage1(metrics)
    if found is None:
        return {"Stage 1": UNKNOWN}
    mapped = " by a linear map" * _has_map(training)
    matches = {f"student{mapped}": found.distilled, f"start{mapped}": found.start}
    facts = {
        f"Stage 1, {name}": f"R2 {_figure(one.r2)}, cosine {_figure(one.cosine)}, effective rank {_figure(one.rank)}"
        for name, one in matches.items()
    }
    said = shortfall(found)
    return facts | ({"Stage 1, remark": said} if said else {})


def _has_map(training: dict[str, object]) -> bool:
    settings = training.get("settings")
    stage1 = settings.get("stage1") if isinstance(settings, dict) else None
    return isinstance(stage1, dict) and bool(stage1.get("lambda_keep"))


def _terms(stated: dict[str, object]) -> dict[str, str]:
    """Describe the terms of the weights that a model is made from, and what they allow."""
    teacher, start = (read_terms(stated.get(role)) for role in ("teacher", "start"))
    if teacher is None or start is None:
        return {"Terms of teacher and start": UNKNOWN}
    return {
        "Teacher": describe_terms(teacher, "teacher"),
        "Start": describe_terms(start, "start"),
        **permissions(teacher, start),
    }


def _arm(figures: object, task: Task) -> str:
    if not isinstance(figures, dict):
        return UNKNOWN
    text = ""
    details = {name: title for name, title in task.details.items() if name in figures}
    for name, title in {**task.figures, **details}.items():
        value = figures.get(name)
        if isinstance(value, list) and len(value) == 2:
            text += f" ({title} {_figure(value[0])} to {_figure(value[1])})"
        elif not name.startswith(f"{task.score_name}_"):
            text += f"{', ' if text else ''}{title} {_figure(value)}"
    counts = [
        f"{figures[key]} {name}" for key, name in (("n_slides", "slides"), ("n_cases", "cases")) if key in figures
    ]
    return text + (f"; {' of '.join(counts)}" if counts else "")


def _figure(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "not defined"
