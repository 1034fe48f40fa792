"""The slide level: log A_r as defined, stage 2 needs its targets, and without weights it is training from labels."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from lrmil import losses
from lrmil.configs import Balance, FitConfig, MILConfig, Stage2Config
from lrmil.features.store import read_features
from lrmil.models.heads.abmil import ABMIL
from lrmil.models.heads.choice import make_mil
from lrmil.models.heads.ensemble import Ensemble, members_of
from lrmil.models.heads.kinds import HEADS, HeadName
from lrmil.steps import last
from lrmil.tasks.classification import Classification
from lrmil.training.bag_batches import pad_bags
from lrmil.training.bags import Bag, BagStore, TeacherOutput, student_bag
from lrmil.training.loop import Fit, FitRun
from lrmil.training.slide_stage import draw_order, resolve_balance, slide_losses, train_mil
from support.bags import CPU, make_bags
from support.runs import write_bag

TASK = Classification(("no", "yes"))
CONFIG = MILConfig(hidden_dim=8, seeds=1, slides_per_step=3, fit=FitConfig(epochs=4, learning_rate=0.02))
WITHOUT = Stage2Config(lambda_bag=0.0, lambda_soft=0.0, lambda_hard=0.0)


def embeddings_of(bag: Bag) -> Tensor:
    return torch.from_numpy(read_features(bag.features).embeddings)


def masses_of(bag: Bag) -> np.ndarray:
    assert bag.log_mass is not None
    return bag.log_mass


def train(
    slides: Sequence[Bag],
    folder: Path,
    *,
    config: MILConfig = CONFIG,
    stage2: Stage2Config | None = None,
    start: dict[str, Tensor] | None = None,
    seed: int = 0,
) -> Fit:
    steps = train_mil(
        ("mil",),
        slides[:6],
        slides[6:],
        FitRun(seed, folder / "mil.checkpoint.safetensors", "key", CPU),
        task=TASK,
        config=config,
        stage2=stage2,
        start=start,
    )
    fit = list(steps)[-1].result
    assert fit is not None
    return fit


def same(one: Fit, other: Fit) -> bool:
    state = other.module.state_dict()
    return all(torch.equal(value, state[name]) for name, value in one.module.state_dict().items())


def test_stage_2_without_targets_is_refused(tmp_path: Path) -> None:
    slides = make_bags(tmp_path, targets=False)
    with pytest.raises(ValueError, match="teacher's targets in every bag"):
        train(slides, tmp_path / "out", stage2=Stage2Config())
    train(slides, tmp_path / "out")


def test_stage_2_without_weights_is_training_from_labels(tmp_path: Path) -> None:
    """Bit for bit: the terms draw no randomness and give no gradient."""
    slides = make_bags(tmp_path)
    labels = train(slides, tmp_path / "labels")
    assert same(labels, train(slides, tmp_path / "student", stage2=WITHOUT))
    assert not same(labels, train(slides, tmp_path / "other", stage2=WITHOUT, seed=1))


@pytest.mark.parametrize("term", ["lambda_bag", "lambda_soft", "lambda_hard"])
def test_each_term_changes_the_student(tmp_path: Path, term: str) -> None:
    slides = make_bags(tmp_path)
    baseline = train(slides, tmp_path / "baseline", stage2=WITHOUT)
    student = train(slides, tmp_path / "student", stage2=replace(WITHOUT, **{term: 1.0}))  # type: ignore[arg-type]
    assert not same(baseline, student)
    name = {"lambda_bag": "classifier.weight"}.get(term, "attention.weight")
    assert not torch.equal(baseline.module.state_dict()[name], student.module.state_dict()[name])


def naive_losses(logits: list[float], attention: list[float], bag: Bag, stage2: Stage2Config) -> dict[str, float]:
    """The terms of method.md section 7, one slide, in plain loops over what the MIL gives for it."""

    def shares(values: list[float], temperature: float = 1.0) -> list[float]:
        masses = [math.exp(value / temperature) for value in values]
        return [mass / sum(masses) for mass in masses]

    def divergence(target: list[float], found: list[float], temperature: float) -> float:
        pairs = zip(shares(target, temperature), shares(found, temperature), strict=True)
        return temperature**2 * sum(q * (math.log(q) - math.log(p)) for q, p in pairs)

    assert bag.teacher_logits is not None and bag.log_mass is not None
    covered = [place for place, mass in enumerate(bag.log_mass.tolist()) if mass > -math.inf]
    ranked = sorted(covered, key=lambda place: -float(bag.log_mass[place]))  # type: ignore[index]
    k = min(max(1, int(stage2.fraction * len(ranked))), stage2.k_max, len(ranked) // 2)
    pairs = [(attention[top], attention[bottom]) for top in ranked[:k] for bottom in ranked[-k:]]
    mass = [float(bag.log_mass[place]) for place in covered]
    terms = {
        "ce": -math.log(shares(logits)[bag.target]),
        "bag": divergence(bag.teacher_logits.tolist(), logits, stage2.bag_temperature),
        "soft": divergence(mass, [attention[place] for place in covered], stage2.attention_temperature),
        "hard": sum(math.log(1 + math.exp(bottom - top)) for top, bottom in pairs) / len(pairs),
    }
    weights = {"ce": stage2.lambda_ce, "bag": stage2.lambda_bag, "soft": stage2.lambda_soft, "hard": stage2.lambda_hard}
    return {**terms, "loss": sum(weights[name] * value for name, value in terms.items())}


WEIGHTED = Stage2Config(
    lambda_ce=0.5,
    lambda_bag=2.0,
    lambda_soft=3.0,
    lambda_hard=5.0,
    bag_temperature=2.0,
    attention_temperature=1.5,
    fraction=0.3,
    k_max=2,
)


@pytest.mark.parametrize("stage2", [Stage2Config(), WEIGHTED, replace(WEIGHTED, fraction=0.5, k_max=4), WITHOUT])
def test_the_loss_is_the_weighted_sum_of_method_7(tmp_path: Path, stage2: Stage2Config) -> None:
    """The losses of the first step are those of the weights it starts from, slides counting alike."""
    slides = make_bags(tmp_path)
    config = MILConfig(
        hidden_dim=8,
        seeds=1,
        dropout=0.0,
        patch_dropout=0.0,
        slides_per_step=6,
        fit=FitConfig(epochs=1, learning_rate=0.01),
    )
    torch.manual_seed(0)
    mil = make_mil(6, 2, config).eval()
    found = train(slides, tmp_path / "out", config=config, stage2=stage2, start=mil.state_dict()).history[0]
    expected = []
    for bag in slides[:6]:
        output = mil(embeddings_of(bag))
        expected.append(naive_losses(output.logits.tolist(), output.attention_logits.tolist(), bag, stage2))
    for name in ("ce", "bag", "soft", "hard", "loss"):
        values = [terms[name] for terms in expected]
        assert found[f"train_{name}"] == pytest.approx(np.mean(values), rel=1e-4) and min(values) > 0


def naive_gradients(mil: ABMIL, bags: Sequence[Bag], stage2: Stage2Config | None) -> tuple[float, list[Tensor]]:
    """The loss of a step and its gradients, bag after bag."""
    total = torch.zeros(())
    for bag in bags:
        output = mil(embeddings_of(bag))
        loss = torch.nn.functional.cross_entropy(output.logits[None], torch.tensor([bag.target]))
        if stage2 is not None:
            assert bag.teacher_logits is not None
            mass, attention = torch.from_numpy(masses_of(bag)), output.attention_logits
            loss = stage2.lambda_ce * loss
            loss += stage2.lambda_bag * losses.bag_loss(output.logits, torch.from_numpy(bag.teacher_logits))
            loss += stage2.lambda_soft * losses.attention_loss(attention, mass)
            loss += stage2.lambda_hard * losses.ranking_loss(attention, mass, None, stage2.fraction, stage2.k_max)
        total = total + loss / len(bags)
    return float(total.detach()), list(torch.autograd.grad(total, list(mil.parameters())))


@pytest.mark.parametrize("limit", [1, 200, 1 << 26])
@pytest.mark.parametrize("stage2", [None, Stage2Config(), Stage2Config(lambda_hard=2.0, fraction=0.4, k_max=3)])
def test_padded_batches_teach_what_a_loop_over_bags_teaches(
    tmp_path: Path, stage2: Stage2Config | None, limit: int
) -> None:
    slides, store = make_bags(tmp_path), BagStore(CPU)
    torch.manual_seed(0)
    mil = ABMIL(6, 2, 8, projection_dim=5)
    terms = [slide_losses(mil, batch, TASK, stage2)["loss"] for batch in pad_bags(slides, store, limit=limit)]
    assert len(terms) == {1: 9, 200: 4, 1 << 26: 1}[limit]
    loss = torch.cat(terms).mean()
    expected, gradients = naive_gradients(mil, slides, stage2)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    for found, naive in zip(torch.autograd.grad(loss, list(mil.parameters())), gradients, strict=True):
        torch.testing.assert_close(found, naive, rtol=1e-4, atol=1e-6)


def test_it_learns_and_keeps_the_best_epoch_on_validation(tmp_path: Path) -> None:
    slides = make_bags(tmp_path, 15)
    config = replace(CONFIG, dropout=0.0, patch_dropout=0.0, fit=FitConfig(epochs=20, learning_rate=0.02))
    fit = train(slides, tmp_path / "out", config=config)
    best = max(fit.history, key=lambda row: (row["val_score"], -row["val_loss"]))
    assert best["val_score"] > 0.9 and fit.history[-1]["train_ce"] < 0.5 * fit.history[0]["train_ce"]
    assert isinstance(fit.module, ABMIL)
    probabilities = []
    for bag in slides[6:]:
        embeddings = embeddings_of(bag)
        with torch.inference_mode():
            probabilities.append(float(fit.module(embeddings).logits.softmax(-1)[bag.target]))
    assert best["val_loss"] == pytest.approx(-np.log(probabilities).mean(), rel=1e-4)


@pytest.mark.parametrize("stage2", [None, Stage2Config()], ids=["labels", "stage 2"])
@pytest.mark.parametrize("head", HEADS)
def test_every_head_learns(tmp_path: Path, head: HeadName, stage2: Stage2Config | None) -> None:
    fit = FitConfig(epochs=25, patience=25, learning_rate=0.02)
    config = replace(CONFIG, head=head, projection_dim=8, dropout=0.0, patch_dropout=0.2, fit=fit)
    found = train(make_bags(tmp_path, 15), tmp_path / "out", config=config, stage2=stage2)
    history = found.history
    assert found.module.name == head
    assert max(row["val_score"] for row in history) > 0.85 and history[-1]["train_ce"] < 0.5 * history[0]["train_ce"]
    assert ("train_head" in history[0]) == (head == "clam_sb")


@pytest.mark.parametrize("stage2", [None, WEIGHTED], ids=["labels", "stage 2"])
def test_what_a_head_adds_is_part_of_the_loss(tmp_path: Path, stage2: Stage2Config | None) -> None:
    config = replace(CONFIG, head="clam_sb", projection_dim=8, dropout=0.0, patch_dropout=0.0)
    slides = make_bags(tmp_path)
    torch.manual_seed(0)
    mil = make_mil(6, 2, config).eval()
    config = replace(config, slides_per_step=6, fit=FitConfig(epochs=1, learning_rate=0.01))
    row = train(slides, tmp_path / "out", config=config, stage2=stage2, start=mil.state_dict()).history[0]
    bags = [(embeddings_of(bag), bag.target) for bag in slides[:6]]
    added = [float(mil.auxiliary_loss(bag, mil(bag), target).detach()) for bag, target in bags]
    assert row["train_head"] == pytest.approx(np.mean(added), rel=1e-4) and min(added) > 0
    weights = {"ce": 0.5, "bag": 2.0, "soft": 3.0, "hard": 5.0} if stage2 else {"ce": 1.0}
    others = sum(weight * row[f"train_{name}"] for name, weight in weights.items())
    assert row["train_loss"] == pytest.approx(others + np.mean(added), rel=1e-4)


def test_a_single_class_in_validation_is_judged_by_the_loss(tmp_path: Path) -> None:
    slides = [*make_bags(tmp_path, 6), make_bags(tmp_path / "more", 1)[0]]
    history = train(slides, tmp_path / "out").history
    assert all(row["val_score"] == pytest.approx(-row["val_loss"]) for row in history)


def test_a_warm_start_begins_with_the_teachers_weights(tmp_path: Path) -> None:
    slides = make_bags(tmp_path)
    teacher = make_mil(6, 2, CONFIG)
    still = replace(CONFIG, fit=FitConfig(epochs=0))
    fit = train(slides, tmp_path / "out", config=still, stage2=Stage2Config(), start=teacher.state_dict())
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in fit.module.state_dict().items())
    assert fit.module is not teacher


def test_a_student_bag_pairs_features_with_evidence(tmp_path: Path) -> None:
    lr = write_bag(tmp_path / "lr.zarr", np.array([[1, 1], [0, 0], [2, 0]]), np.zeros((3, 4)))
    hr = write_bag(tmp_path / "hr.zarr", np.array([[0, 1], [3, 3], [1, 0]]), np.zeros((3, 4)), mpp=1.0)
    teacher = TeacherOutput(np.array([1.0, 2.0], np.float32), np.array([0.5, 2.0, 1.5], np.float32))
    bag = student_bag("s", lr, hr, 1, teacher, children=2)
    assert (bag.slide_id, bag.features, bag.target) == ("s", lr, 1)
    assert bag.teacher_logits is not None and bag.teacher_logits.tolist() == [1.0, 2.0]
    np.testing.assert_allclose(bag.log_mass, [2.0, np.log(np.exp(0.5) + np.exp(1.5)), -np.inf], rtol=1e-6)


def test_rare_classes_are_drawn_as_often(tmp_path: Path) -> None:
    slides = [
        replace(bag, stratum="rare" if place < 2 else "common") for place, bag in enumerate(make_bags(tmp_path, 12))
    ]
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_order(slides, generator, balanced=True) for _ in range(100)]
    assert all(len(order) == 12 for order in drawn)
    share = np.mean([slides[place].stratum == "rare" for order in drawn for place in order])
    assert share == pytest.approx(0.5, abs=0.05)
    assert sorted(draw_order(slides, generator, balanced=False)) == list(range(12))
    alike = [replace(bag, stratum="") for bag in slides]  # a task without classes has nothing to balance
    assert sorted(draw_order(alike, generator, balanced=True)) == list(range(12))


def test_logits_are_adjusted_by_the_frequency_of_the_labels_alone(tmp_path: Path) -> None:
    """Menon et al. 2021, equation 10: the cross-entropy of f_y + log pi_y; the teacher's terms are as before."""
    slides = make_bags(tmp_path, 5)  # three of class 0, two of class 1
    priors = TASK.log_priors([bag.target for bag in slides])
    assert priors == pytest.approx([math.log(0.6), math.log(0.4)])
    assert TASK.log_priors([0, 0]) == pytest.approx([0.0, math.log(0.5)])
    (batch,) = pad_bags(slides, BagStore(CPU))
    torch.manual_seed(0)
    mil = ABMIL(6, 2, 8).eval()
    plain, adjusted = (slide_losses(mil, batch, TASK, Stage2Config(), of) for of in (None, torch.tensor(priors)))
    for bag, found in zip(batch.bags, adjusted["ce"].tolist(), strict=True):
        logits = mil(embeddings_of(bag)).logits.tolist()
        raised = [math.exp(logit + prior) for logit, prior in zip(logits, priors, strict=True)]
        assert found == pytest.approx(-math.log(raised[int(str(bag.target))] / sum(raised)), rel=1e-4)
    for name in ("bag", "soft", "hard"):
        assert torch.equal(plain[name], adjusted[name])


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=3))
@example(sizes=[1, 5])
@example(sizes=[2, 9])
def test_a_class_with_a_fifth_of_the_slides_is_rare(sizes: list[int]) -> None:
    names = [str(stratum) for stratum, size in enumerate(sizes) for _ in range(size)]
    bags = [Bag(str(place), Path(), 0, stratum=name) for place, name in enumerate(names)]
    rare = any(5 * one <= other for one in sizes for other in sizes)
    assert resolve_balance("auto", bags) == ("sampling" if rare else "none")
    for asked in ("none", "sampling", "logits"):
        assert resolve_balance(asked, bags) == asked  # type: ignore[arg-type]


@pytest.mark.parametrize(("rare", "balance"), [(1, "sampling"), (2, "none")])
def test_by_default_slides_of_a_rare_class_are_drawn_more_often(tmp_path: Path, rare: int, balance: Balance) -> None:
    """Of six slides to learn from, one is a fifth of the others, two are not."""
    slides = [
        replace(bag, stratum="rare" if place < rare else "common") for place, bag in enumerate(make_bags(tmp_path))
    ]
    by_default = train(slides, tmp_path / "default")
    for asked in ("none", "sampling"):
        config = replace(CONFIG, balance=asked)  # type: ignore[arg-type]
        assert same(by_default, train(slides, tmp_path / asked, config=config)) == (asked == balance)


@pytest.mark.parametrize("balance", ["sampling", "logits"])
def test_each_way_to_balance_changes_the_training(tmp_path: Path, balance: str) -> None:
    slides = [replace(bag, stratum=str(bag.target)) for bag in make_bags(tmp_path)]
    plain = train(slides, tmp_path / "plain")
    assert not same(plain, train(slides, tmp_path / "balanced", config=replace(CONFIG, balance=balance)))  # type: ignore[arg-type]


@pytest.mark.parametrize("stage2", [None, Stage2Config()])
def test_members_are_trained_together_each_by_its_own_loss(tmp_path: Path, stage2: Stage2Config | None) -> None:
    """Without dropout and clipping, a member of an ensemble learns exactly what it learns by itself."""
    slides = make_bags(tmp_path)
    fit = FitConfig(epochs=3, learning_rate=0.02, clip=1e6)
    config = replace(CONFIG, seeds=3, dropout=0.0, patch_dropout=0.0, fit=fit)
    torch.manual_seed(3)
    start = make_mil(6, 2, config, seeds=3).state_dict()
    together = train(slides, tmp_path / "all", config=config, stage2=stage2, start=start).module
    assert isinstance(together, Ensemble) and len(members_of(together)) == 3
    for number, member in enumerate(members_of(together)):
        own = {name.split(".", 2)[2]: value for name, value in start.items() if name.startswith(f"members.{number}.")}
        alone_config = replace(config, seeds=1)
        alone = train(slides, tmp_path / str(number), config=alone_config, stage2=stage2, start=own).module
        states = member.state_dict(), alone.state_dict()
        assert not torch.equal(states[0]["classifier.weight"], own["classifier.weight"])
        for name, value in states[0].items():
            torch.testing.assert_close(value, states[1][name], rtol=0, atol=2e-3)


def test_members_differ_in_their_start_and_in_what_they_leave_out(tmp_path: Path) -> None:
    slides = make_bags(tmp_path)
    fit = train(slides, tmp_path / "all", config=replace(CONFIG, seeds=3))
    weights = [member.state_dict()["attention.weight"] for member in members_of(fit.module)]  # type: ignore[arg-type]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])
    assert same(fit, train(slides, tmp_path / "again", config=replace(CONFIG, seeds=3)))
    equal = {
        f"members.{number}.{name}": value
        for number in range(2)
        for name, value in make_mil(6, 2, CONFIG).state_dict().items()
    }
    first = {name: value for name, value in equal.items() if name.startswith("members.0.")}
    equal |= {name.replace(".0.", ".1.", 1): value for name, value in first.items()}
    one, other = members_of(train(slides, tmp_path / "equal", config=replace(CONFIG, seeds=2), start=equal).module)  # type: ignore[arg-type]
    assert not torch.equal(one.state_dict()["attention.weight"], other.state_dict()["attention.weight"])


def test_without_validation_all_epochs_are_taken(tmp_path: Path) -> None:
    slides = make_bags(tmp_path)
    config = replace(CONFIG, fit=FitConfig(epochs=6, patience=1, learning_rate=0.02, ema=0.9))
    run = FitRun(0, tmp_path / "mil.checkpoint.safetensors", "key", CPU)
    fit = last(train_mil(("mil",), slides, [], run, task=TASK, config=config))
    assert len(fit.history) == 6 and not any("val_score" in row for row in fit.history)
