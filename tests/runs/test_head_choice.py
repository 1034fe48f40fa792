"""mil.head = "auto": the head that answers unseen slides best is that of the fold, and no test slide has a say."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lrmil.cohorts.splits import Fold
from lrmil.configs import HeadName
from lrmil.errors import ConfigError, FormatError
from lrmil.features.store import read_features
from lrmil.io.ownership import is_artefact
from lrmil.models.heads.head import predict_bag
from lrmil.runs import head_choice
from lrmil.runs.chosen_heads import HeadChoice, choices_in, read_choice
from lrmil.runs.evidence import make_evidence
from lrmil.runs.fold_outputs import load_mil, read_evidence, read_teacher_outputs
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import inner_folder, train_on_labels
from lrmil.runs.head_choice import CANDIDATES, choose_head, with_chosen_head
from lrmil.runs.inner_mils import COMPARED
from lrmil.tasks.answers import Target, Validation
from lrmil.tasks.classification import Classification
from support.folds import Values, inputs_of, make_fold, through_stage_2
from support.runs import stamp_of

AUTO: dict[str, object] = {"mil__head": "auto", "mil__seeds": 1, "mil__dropout": 0.0, "stage2__inner_folds": 2}
BRIEF: dict[str, object] = {**AUTO, "cases": 5, "mil__fit__epochs": 2}
NO_WEIGHT: dict[str, object] = {f"stage2__lambda_{name}": 0.0 for name in ("bag", "soft", "hard")}


def few_patches(rng: np.random.Generator, label: int, arm: str) -> NDArray[np.float64]:
    """Three patches, told by channel 0, have the class in channel 1, where all others are noise as strong."""
    bag = rng.normal(size=(36, 4)) * (1, 4, 1, 1)
    bag[:3, 0] += 6
    bag[:3, 1] = 4 * (2 * label - 1) + rng.normal(size=3)
    return bag


def all_patches(rng: np.random.Generator, label: int, arm: str) -> NDArray[np.float64]:
    """Every patch has the class, under noise as strong."""
    bag = 3 * rng.normal(size=(36, 4))
    bag[:, 0] += 3 * label
    return bag


def artefacts(task: FoldTask) -> dict[str, tuple[int, int]]:
    return {path.parent.name: stamp_of(path) for path in sorted(task.folder.glob("*/artefact.json"))}


def inner_names(heads: Sequence[str], folds: int = 2) -> set[str]:
    middle = {head: "" if head == "abmil" else f".{head}" for head in heads}
    mils = ("teacher", "lr_undistilled")
    return {f"{mil}{middle[head]}.inner-{number}" for mil in mils for head in heads for number in range(folds)}


def out_of_fold_loss(task: FoldTask, head: HeadName, arm: str) -> float:
    """Cross-entropy over all slides, each by the MIL that did not train on it."""
    losses, own = [], {*task.fold.train, *task.fold.val}
    for number in range(2):
        folder = inner_folder(task.with_head(head), arm, number)
        mil = load_mil(folder, task.config.mil)
        for slide_id in own - inputs_of(folder)["train"].keys():  # type: ignore[attr-defined]
            bag = torch.from_numpy(read_features(task.features(arm, slide_id)).embeddings)
            logits = torch.from_numpy(predict_bag(mil, bag).logits)
            losses.append(-float(logits.double().log_softmax(-1)[int(task.labels[slide_id])]))  # type: ignore[arg-type]
    assert len(losses) == len(own)
    return float(np.mean(losses))


@pytest.mark.parametrize(("values", "winner"), [(few_patches, "abmil"), (all_patches, "mean")])
def test_the_head_that_answers_unseen_slides_best_is_that_of_all_arms(
    tmp_path: Path, values: Values, winner: HeadName
) -> None:
    task = make_fold(tmp_path, values, **AUTO)
    steps = list(through_stage_2(task))
    choice = read_choice(task.folder)
    assert (choice.head, choice.inner_folds, choice.reason) == (winner, 2, "")
    assert list(choice.losses) == list(CANDIDATES) and all(list(of) == list(COMPARED) for of in choice.losses.values())
    for head in CANDIDATES:
        for arm in COMPARED:
            assert choice.losses[head][arm] == pytest.approx(out_of_fold_loss(task, head, arm), abs=1e-5)
    means = {head: sum(of.values()) / 2 for head, of in choice.losses.items()}
    assert winner == min(means, key=means.__getitem__) and choice.means == pytest.approx(means)
    said = [step.message for step in steps if step.job == ("fold-0", "head") and step.message]
    assert len(said) == 1 and all(f"{head} {mean:.3f}" in said[0] for head, mean in means.items())
    assert f"the head is {winner}" in said[0]
    for arm in ("hr_teacher", "lr_student"):
        assert load_mil(task.mil(arm), task.config.mil).name == winner
    assert is_artefact(task.folder / "head")
    evidence = inputs_of(task.folder / "evidence")
    assert evidence["models"] == inputs_of(task.folder / "head")["models"][winner]  # type: ignore[index]
    assert artefacts(task).keys() == inner_names(CANDIDATES) | {"head", "teacher", "evidence", "lr_student"}


def test_no_test_slide_has_a_say(tmp_path: Path) -> None:
    task = make_fold(tmp_path, few_patches, **BRIEF)
    list(through_stage_2(task))
    own, made = {*task.fold.train, *task.fold.val}, artefacts(task)
    assert task.fold.test and len(made) == 16
    for name in made:
        inputs = inputs_of(task.folder / name)
        assert not any(slide_id in json.dumps(inputs) for slide_id in task.fold.test), name
        if ".inner-" in name:
            seen = inputs["train"].keys()  # type: ignore[attr-defined]
            assert seen < own and not {task.cases[i] for i in seen} & {task.cases[i] for i in own - seen}
    assert inputs_of(task.folder / "head")["slides"].keys() == own  # type: ignore[attr-defined]
    before = read_choice(task.folder)
    other = {slide_id: 1 - int(task.labels[slide_id]) for slide_id in task.fold.test}  # type: ignore[arg-type]
    shrunk = Fold("fold-0", task.fold.train, task.fold.val, task.fold.test[:1])
    again = replace(task, labels={**task.labels, **other}, fold=shrunk)
    assert not list(choose_head(again)) and read_choice(task.folder) == before


def test_what_is_current_is_kept_and_a_change_chooses_again(tmp_path: Path) -> None:
    task = make_fold(tmp_path, few_patches, **BRIEF)
    list(through_stage_2(task))
    before = artefacts(task)
    assert not list(through_stage_2(task)) and artefacts(task) == before

    slide_id = task.fold.train[0]
    flipped = {**task.labels, slide_id: 1 - int(task.labels[slide_id])}  # type: ignore[arg-type]
    list(through_stage_2(replace(task, labels=flipped)))
    after = artefacts(task)
    unaware = {
        name for name in before if slide_id not in json.dumps(inputs_of(task.folder / name).get("train", slide_id))
    }
    assert {name for name in before if after[name] == before[name]} == unaware and len(unaware) == 6

    mil = task.config.mil
    longer = replace(task.config, mil=replace(mil, fit=replace(mil.fit, epochs=3)))
    messages = [step.message for step in choose_head(replace(task, config=longer))]
    assert any("settings of the MIL" in message for message in messages)
    assert any("trained models" in message for message in messages)
    assert artefacts(task)["head"] != after["head"]


def test_a_named_head_and_a_chosen_one_share_what_they_trained(tmp_path: Path) -> None:
    """Naming the winner, or leaving it to be chosen after that, trains nothing of it again."""
    task = make_fold(tmp_path, few_patches, **BRIEF)
    list(through_stage_2(task))
    before, chosen = artefacts(task), with_chosen_head(task)
    assert not list(through_stage_2(chosen)) and artefacts(task) == before
    assert chosen.config == replace(task.config, mil=replace(task.config.mil, head=read_choice(task.folder).head))


@pytest.mark.usefixtures("every_epoch_saved")
def test_a_run_that_was_cut_off_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    whole, cut = (make_fold(tmp_path / name, few_patches, **BRIEF) for name in ("whole", "cut"))
    list(choose_head(whole))
    steps = choose_head(cut)
    for _ in steps:  # until the seventh training has a checkpoint
        if len(artefacts(cut)) >= 6 and list(cut.folder.glob("*.checkpoint.safetensors")):
            break
    steps.close()
    kept = artefacts(cut)
    (checkpoint,) = cut.folder.glob("*.checkpoint.safetensors")
    assert len(kept) == 6 and kept.keys() == inner_names(["abmil"]) | {f"teacher.mean.inner-{n}" for n in (0, 1)}
    assert checkpoint.name == "lr_undistilled.mean.inner-0.checkpoint.safetensors"
    resumed = next(again for again in choose_head(cut) if not again.message)
    in_each = resumed.total / 12 if resumed.total else 0
    assert resumed.done == 6 * in_each + in_each / 2 + 1  # the first step of the second of two epochs
    list(choose_head(cut))
    assert not checkpoint.exists() and {name: artefacts(cut)[name] for name in kept} == kept
    assert (cut.folder / "head/choice.json").read_bytes() == (whole.folder / "head/choice.json").read_bytes()


class Indifferent(Classification):
    """A task in which every answer is as good."""

    def validate(self, targets: Sequence[Target], values: NDArray[np.float64]) -> Validation:
        return Validation(0.5, 0.5)


def test_of_equal_losses_the_first_candidate_wins(tmp_path: Path) -> None:
    task = replace(make_fold(tmp_path, all_patches, **BRIEF), predicts=Indifferent(("class 0", "class 1")))
    list(choose_head(task))
    choice = read_choice(task.folder)
    assert set(choice.means.values()) == {0.5} and choice.head == CANDIDATES[0] == "abmil"


@pytest.mark.parametrize("why", ["none asked for", "too few cases"])
def test_without_inner_folds_it_is_abmil_and_says_so(tmp_path: Path, why: str) -> None:
    task = make_fold(tmp_path, few_patches, **{**BRIEF, "stage2__inner_folds": 0 if why == "none asked for" else 4})
    if why == "too few cases":
        class_0 = [i for i in task.fold.train + task.fold.val if task.labels[i] == 0]
        task = replace(task, cases={**task.cases, **dict.fromkeys(class_0, "p4")})
    steps = list(through_stage_2(task))
    choice = read_choice(task.folder)
    reason = "inner_folds is 0" if why == "none asked for" else "1 case "
    assert choice == HeadChoice(head="abmil", reason=choice.reason) and reason in choice.reason
    (said,) = [step.message for step in steps if step.job == ("fold-0", "head")]
    assert "the head is abmil" in said and choice.reason in said
    assert artefacts(task).keys() == {"head", "teacher", "evidence", "lr_student"}
    assert load_mil(task.mil("lr_student"), task.config.mil).name == "abmil"


@pytest.mark.parametrize("teacher", ["region", "patch"])
@pytest.mark.parametrize("head", CANDIDATES)
def test_stage_2_learns_with_every_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: HeadName, teacher: str
) -> None:
    """All losses against the teacher, from its weights on; attention is finite and sums to 1 on every slide."""
    monkeypatch.setattr(head_choice, "CANDIDATES", (head,))
    settings: dict[str, object] = {"stage2__warm_start": True, "stage1__lambda_keep": 0.0, "teacher": teacher}
    task = make_fold(tmp_path, few_patches, **{**BRIEF, **settings})
    list(through_stage_2(task))
    assert read_choice(task.folder).head == head and read_evidence(task.folder).inner_folds == 2
    for output in read_teacher_outputs(task.folder).values():
        assert np.isfinite(output.attention_logits).all() and np.isfinite(output.logits).all()
    history = json.loads((task.mil("lr_student") / "history.json").read_text())
    terms = [f"train_{name}" for name in ("loss", "ce", "bag", "soft", "hard")]
    assert len(history) == 2 and all(np.isfinite(epoch[term]) for epoch in history for term in terms)
    start, end = (load_mil(task.mil(arm), task.config.mil).state_dict() for arm in ("hr_teacher", "lr_student"))
    assert start.keys() == end.keys() and any(not torch.equal(value, end[name]) for name, value in start.items())


def test_a_teacher_without_weight_needs_no_inner_folds_but_the_choice_does(tmp_path: Path) -> None:
    named = make_fold(tmp_path / "named", few_patches, **{**BRIEF, **NO_WEIGHT, "mil__head": "mean"})
    steps = list(through_stage_2(named))
    evidence = read_evidence(named.folder)
    assert not evidence.used and "are 0" in evidence.reason and evidence.teacher is evidence.baseline is None
    assert artefacts(named).keys() == {"teacher", "evidence", "lr_student"}
    (said,) = [step.message for step in steps if step.job == ("fold-0", "evidence") and step.message]
    assert evidence.reason in said and "labels alone" in said

    chosen = make_fold(tmp_path / "chosen", few_patches, **{**BRIEF, **NO_WEIGHT})
    list(through_stage_2(chosen))
    assert artefacts(chosen).keys() == inner_names(CANDIDATES) | {"head", "teacher", "evidence", "lr_student"}
    assert read_evidence(chosen.folder) == evidence and read_choice(chosen.folder).inner_folds == 2


@pytest.mark.parametrize(
    "needed",
    [
        {"stage2__warm_start": True, "stage1__lambda_keep": 0.0},
        {"teacher": "patch", "stage1__weighting": "teacher_attention"},
        {"stage2__lambda_hard": 0.1},
    ],
)
def test_what_learns_from_the_teacher_in_another_way_keeps_its_inner_folds(
    tmp_path: Path, needed: dict[str, object]
) -> None:
    task = make_fold(tmp_path, few_patches, **{**BRIEF, **NO_WEIGHT, "mil__head": "mean", **needed})
    list(through_stage_2(task))
    assert read_evidence(task.folder).inner_folds == 2 and inner_names(["mean"]) < artefacts(task).keys()


def test_nothing_is_trained_with_a_head_that_is_not_chosen_yet(tmp_path: Path) -> None:
    task = make_fold(tmp_path, few_patches, **BRIEF)
    for steps in (train_on_labels(task, "hr_teacher"), make_evidence(task)):
        with pytest.raises(ConfigError, match="auto"):
            list(steps)
    with pytest.raises(FormatError, match="Delete the folder 'head'"):
        with_chosen_head(task)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[]",
            "{",
            "{}",
            '{"head": "auto"}',
            '{"head": "abmil", "losses": {"mean": {}}}',
            '{"head": "abmil", "x": 1}',
        ),
        '{"head": "abmil", "losses": {"mean": {"hr_teacher": NaN}}}',
    ],
)
def test_a_damaged_choice_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "head").mkdir()
    (tmp_path / "head/choice.json").write_text(text)
    with pytest.raises(FormatError):
        read_choice(tmp_path)


def test_metrics_of_runs_that_chose_nothing_have_no_choice() -> None:
    assert choices_in({}) == {}
    with pytest.raises(FormatError, match="MIL heads"):
        choices_in({"head": {"fold-0": {"head": "the best"}}})
