"""Folds keep patients whole and classes present, and depend on nothing but the cohort and the seed."""

import random
from collections import Counter
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.cohorts.cohort import Cohort, SlideRecord
from lrmil.cohorts.splits import (
    Fold,
    final_fold,
    folds_and_final,
    make_folds,
    read_splits,
    without_failed,
    write_splits,
)
from lrmil.errors import CohortError, ConfigError, FormatError
from lrmil.tasks.classification import Classification

Split = Literal["train", "val", "test"]


def cohort_of(
    cases: list[tuple[str, int]], *, splits: list[Split] | None = None, folds: list[str] | None = None
) -> Cohort:
    """One case for each (label, number of slides)."""
    slides = tuple(
        SlideRecord(
            f"c{case:03}-{slide}",
            Path(f"c{case:03}-{slide}.svs"),
            label,
            f"c{case:03}",
            split=splits[case] if splits else None,
            fold=folds[case] if folds else None,
        )
        for case, (label, count) in enumerate(cases)
        for slide in range(count)
    )
    return Cohort(slides, Classification(tuple(sorted({label for label, _ in cases}))))


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[Cohort, int]:
    """A cohort of two or three classes, uneven slides per case, and a number of folds it allows."""
    folds = draw(st.integers(2, 5))
    counts = draw(st.lists(st.integers(max(folds, 4 if folds == 2 else 0), 12), min_size=2, max_size=3))
    cases = [(f"class{index}", draw(st.integers(1, 6))) for index, count in enumerate(counts) for _ in range(count)]
    return cohort_of(draw(st.permutations(cases))), folds


def cases_of(cohort: Cohort, slide_ids: tuple[str, ...]) -> set[str]:
    return {cohort.by_id[slide_id].case_id for slide_id in slide_ids}


def labels_of(cohort: Cohort, slide_ids: tuple[str, ...]) -> set[str]:
    return {cohort.by_id[slide_id].label for slide_id in slide_ids}


def assert_whole(cohort: Cohort, fold: Fold) -> None:
    """No case lies in two parts, no slide is lost or doubled, every class can be fitted and validated."""
    train, val, test = (cases_of(cohort, part) for part in (fold.train, fold.val, fold.test))
    assert not train & val and not train & test and not val & test
    assert sorted(fold.train + fold.val + fold.test) == [slide.slide_id for slide in cohort.slides]
    assert labels_of(cohort, fold.train) == labels_of(cohort, fold.val) == set(cohort.classes)


@given(cohorts(), st.integers(0, 1000), st.floats(0.05, 0.95))
def test_drawn_folds(case: tuple[Cohort, int], seed: int, val_fraction: float) -> None:
    cohort, folds = case
    made = make_folds(cohort, folds=folds, val_fraction=val_fraction, seed=seed)
    assert [fold.name for fold in made] == [f"fold-{number}" for number in range(folds)]
    tested = Counter(slide_id for fold in made for slide_id in fold.test)
    assert tested == Counter(slide.slide_id for slide in cohort.slides)
    for fold in made:
        assert_whole(cohort, fold)
        assert labels_of(cohort, fold.test) == set(cohort.classes)
    final = final_fold(cohort, val_fraction=val_fraction, seed=seed)
    assert_whole(cohort, final)
    assert final.name == "final" and final.test == ()


@given(cohorts(), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_the_order_of_slides_does_not_matter(case: tuple[Cohort, int], seed: int, rng: random.Random) -> None:
    cohort, folds = case
    slides = list(cohort.slides)
    rng.shuffle(slides)
    shuffled = Cohort(tuple(slides), cohort.task)
    assert make_folds(shuffled, folds=folds, val_fraction=0.2, seed=seed) == make_folds(
        cohort, folds=folds, val_fraction=0.2, seed=seed
    )


def test_seeds_differ_and_repeat() -> None:
    cohort = cohort_of([("a", 1)] * 20 + [("b", 1)] * 20)
    assert make_folds(cohort, folds=5, val_fraction=0.2, seed=1) == make_folds(
        cohort, folds=5, val_fraction=0.2, seed=1
    )
    one, two = (make_folds(cohort, folds=5, val_fraction=0.2, seed=seed)[0] for seed in (1, 2))
    assert one.test != two.test
    finals = {final_fold(cohort, val_fraction=0.2, seed=seed).val for seed in range(5)}
    assert len(finals) == 5


def test_classes_are_spread_evenly_by_case() -> None:
    cohort = cohort_of([("a", 30)] + [("a", 1)] * 9 + [("b", 1)] * 20)
    for fold in make_folds(cohort, folds=5, val_fraction=0.25, seed=0):
        labels = Counter(cohort.case_labels[case] for case in cases_of(cohort, fold.test))
        assert labels == {"a": 2, "b": 4}
        assert Counter(cohort.case_labels[case] for case in cases_of(cohort, fold.val)) == {"a": 2, "b": 4}


def test_fold_column() -> None:
    values = ["10", "2", "1", "10", "2", "1"] * 2
    cohort = cohort_of([("a", 2), ("a", 1), ("a", 1), ("b", 1), ("b", 3), ("b", 1)] * 2, folds=values)
    made = make_folds(cohort, folds=5, val_fraction=0.2, seed=0)
    assert [fold.name for fold in made] == ["fold-1", "fold-2", "fold-10"]
    for fold in made:
        assert_whole(cohort, fold)
        assert {cohort.by_id[slide_id].fold for slide_id in fold.test} == {fold.name.removeprefix("fold-")}
        assert fold.name.removeprefix("fold-") not in {
            cohort.by_id[slide_id].fold for slide_id in fold.train + fold.val
        }
    assert_whole(cohort, final_fold(cohort, val_fraction=0.2, seed=0))


def test_split_column_is_taken_as_it_is() -> None:
    splits: list[Split] = ["train", "train", "val", "val", "test", "test"]
    cohort = cohort_of([("a", 1), ("b", 2)] * 3, splits=splits)
    (fold,) = make_folds(cohort, folds=5, val_fraction=0.5, seed=0)
    assert fold == Fold("fold-0", ("c000-0", "c001-0", "c001-1"), ("c002-0", "c003-0", "c003-1"), fold.test)
    assert fold.test == ("c004-0", "c005-0", "c005-1")
    assert final_fold(cohort, val_fraction=0.5, seed=0) == Fold("final", fold.train, fold.val, ())


def test_split_column_without_val_has_one_taken_from_train() -> None:
    splits: list[Split] = ["train" if case < 10 else "test" for case in range(14)]
    cohort = cohort_of([("a", 1), ("b", 2)] * 7, splits=splits)
    (fold,) = make_folds(cohort, folds=5, val_fraction=0.2, seed=0)
    assert_whole(cohort, fold)
    assert cases_of(cohort, fold.test) == {"c010", "c011", "c012", "c013"}
    assert len(cases_of(cohort, fold.val)) == 2
    assert final_fold(cohort, val_fraction=0.2, seed=0) == Fold("final", fold.train, fold.val, ())


def test_too_few_cases() -> None:
    with pytest.raises(CohortError, match="at least 4 cases of every class; the smallest has 3"):
        make_folds(cohort_of([("a", 9)] * 3 + [("b", 1)] * 9), folds=4, val_fraction=0.2, seed=0)
    with pytest.raises(CohortError, match="two cases of class 'a' besides the tested ones in 'fold-0'"):
        make_folds(cohort_of([("a", 9)] * 2 + [("b", 1)] * 9), folds=2, val_fraction=0.2, seed=0)
    with pytest.raises(CohortError, match=r"two cases of class 'b' .* in 'final'"):
        final_fold(cohort_of([("a", 1)] * 2 + [("b", 9)]), val_fraction=0.2, seed=0)


@st.composite
def mixed_cohorts(draw: st.DrawFn) -> tuple[Cohort, int]:
    """A cohort in which cases have slides of several labels; each class has a few cases of its own alone."""
    folds, classes = draw(st.integers(2, 4)), ["a", "b", "c"][: draw(st.integers(2, 3))]
    alone = [[label] for label in classes for _ in range(folds + 2)]
    mixed = draw(st.lists(st.lists(st.sampled_from(classes), min_size=2, max_size=5), min_size=1, max_size=12))
    slides = [
        SlideRecord(f"c{case:03}-{n}", Path("x.svs"), label, f"c{case:03}")
        for case, labels in enumerate(draw(st.permutations([*alone, *mixed, [classes[0], classes[1]]])))
        for n, label in enumerate(labels)
    ]
    return Cohort(tuple(slides), Classification(tuple(classes))), folds


class TestCasesOfSeveralLabels:
    """Labels are those of slides; patients stay whole in folds that are drawn, named or given as a split."""

    @given(mixed_cohorts(), st.integers(0, 1000), st.floats(0.05, 0.6))
    @settings(deadline=None, max_examples=40)
    def test_drawn_folds(self, case: tuple[Cohort, int], seed: int, val_fraction: float) -> None:
        cohort, folds = case
        made = make_folds(cohort, folds=folds, val_fraction=val_fraction, seed=seed)
        tested = Counter(slide_id for fold in made for slide_id in fold.test)
        assert tested == Counter(slide.slide_id for slide in cohort.slides) and len(made) == folds
        for fold in (*made, final_fold(cohort, val_fraction=val_fraction, seed=seed)):
            assert_split(cohort, fold)

    @given(mixed_cohorts(), st.integers(0, 1000))
    @settings(deadline=None, max_examples=20)
    def test_the_order_of_slides_does_not_matter(self, case: tuple[Cohort, int], seed: int) -> None:
        cohort, folds = case
        turned = Cohort(cohort.slides[::-1], cohort.task)
        arguments = {"folds": folds, "val_fraction": 0.2, "seed": seed}
        assert make_folds(turned, **arguments) == make_folds(cohort, **arguments)  # type: ignore[arg-type]

    def test_classes_are_spread_evenly_by_slide(self) -> None:
        rng = random.Random(0)
        slides = [
            SlideRecord(f"c{case:03}-{n}", Path("x.svs"), rng.choices("ab", [3, 1])[0], f"c{case:03}")
            for case in range(100)
            for n in range(5)
        ]
        cohort = Cohort(tuple(slides), Classification(("a", "b")))
        total = Counter(slide.label for slide in slides)
        for fold in make_folds(cohort, folds=5, val_fraction=0.2, seed=0):
            found = Counter(cohort.by_id[slide_id].label for slide_id in fold.test)
            assert all(abs(found[label] - total[label] / 5) <= 5 for label in "ab")
            rest = len(cases_of(cohort, fold.train)) + len(cases_of(cohort, fold.val))
            assert 0.1 <= len(cases_of(cohort, fold.val)) / rest <= 0.3

    def test_no_class_gives_more_cases_to_validation_than_asked_for(self) -> None:
        """A case of a rare class has slides of common ones, which must not draw the rare class along."""
        rng = random.Random(1)
        drawn = [[rng.choices("abc", [14, 5, 1])[0] for _ in range(4)] for _ in range(200)]
        slides = [
            SlideRecord(f"c{case:03}-{n}", Path("x"), label, f"c{case:03}")
            for case, labels in enumerate(drawn)
            for n, label in enumerate(labels)
        ]
        cohort = Cohort(tuple(slides), Classification(("a", "b", "c")))
        fold = final_fold(cohort, val_fraction=0.2, seed=0)
        cases, val = cohort.cases, cases_of(cohort, fold.val)
        for label in cohort.classes:
            members = {case for case, labels in cases.items() if label in labels}
            assert 0.1 <= len(members & val) / len(members) <= 0.22

    def test_seeds_differ_and_repeat(self) -> None:
        cohort = Cohort(
            tuple(SlideRecord(f"s{n:03}", Path("x.svs"), "ab"[n % 2], f"c{n // 4:03}") for n in range(120)),
            Classification(("a", "b")),
        )
        made = [make_folds(cohort, folds=5, val_fraction=0.2, seed=seed) for seed in (1, 1, 2)]
        assert made[0] == made[1] != made[2]

    def test_a_fold_column(self) -> None:
        """As in Camelyon17: five slides a patient, of several stages, and a fold for each of the centres."""
        slides = tuple(
            SlideRecord(f"patient_{p:03}_node_{n}", Path("x.svs"), "abc"[(p + n) % 3], f"p{p:03}", fold=str(p % 5))
            for p in range(50)
            for n in range(5)
        )
        cohort = Cohort(slides, Classification(("a", "b", "c")))
        made = make_folds(cohort, folds=2, val_fraction=0.2, seed=0)
        assert [fold.name for fold in made] == [f"fold-{n}" for n in range(5)]
        for fold in made:
            assert_split(cohort, fold)
            assert {cohort.by_id[slide_id].fold for slide_id in fold.test} == {fold.name[-1]}

    def test_a_split_column_without_val(self) -> None:
        slides = tuple(
            SlideRecord(f"s{n:02}", Path("x"), "ab"[n % 2], f"p{n // 2}", split="test" if n > 15 else "train")
            for n in range(20)
        )
        (fold,) = make_folds(Cohort(slides, Classification(("a", "b"))), folds=5, val_fraction=0.2, seed=0)
        assert_split(Cohort(slides, Classification(("a", "b"))), fold)
        assert fold.test == ("s16", "s17", "s18", "s19")

    def test_what_cannot_be_divided(self) -> None:
        pairs = ["ab", "bc", "ca"]
        slides = [SlideRecord(f"{case}{n}", Path("x"), case[n], case) for case in pairs for n in (0, 1)]
        with pytest.raises(CohortError, match="cannot be divided so"):
            final_fold(Cohort(tuple(slides), Classification(("a", "b", "c"))), val_fraction=0.2, seed=0)
        with pytest.raises(CohortError, match="2 folds that each leave two cases"):
            make_folds(Cohort(tuple(slides), Classification(("a", "b", "c"))), folds=2, val_fraction=0.2, seed=0)

    def test_splits_tell_each_slide_s_own_label(self, tmp_path: Path) -> None:
        slides = tuple(SlideRecord(f"s{n:02}", Path("x"), "ab"[n % 2], f"p{n // 2}") for n in range(20))
        cohort = Cohort(slides, Classification(("a", "b")))
        folds = make_folds(cohort, folds=3, val_fraction=0.2, seed=0)
        write_splits(tmp_path / "splits.csv", folds, cohort)
        assert read_splits(tmp_path / "splits.csv") == folds
        for row in (tmp_path / "splits.csv").read_text().splitlines()[1:]:
            _, slide_id, case_id, label, _ = row.split(",")
            assert (case_id, label) == (cohort.by_id[slide_id].case_id, cohort.by_id[slide_id].label)


def assert_split(cohort: Cohort, fold: Fold) -> None:
    """As `assert_whole`; a test may lack a class, since whole cases cannot always be spread."""
    assert_whole(cohort, fold)
    assert fold.test or fold.name == "final"


@pytest.mark.parametrize("positive", ["a", "b"])
def test_the_positive_class_does_not_move_a_slide(positive: str) -> None:
    cohort = cohort_of([("a", 2), ("b", 1)] * 10)
    turned = Cohort(cohort.slides, Classification(tuple(sorted("ab", key=lambda name: name == positive))))
    arguments = {"folds": 3, "val_fraction": 0.2, "seed": 0}
    assert make_folds(turned, **arguments) == make_folds(cohort, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(("folds", "val_fraction"), [(1, 0.2), (3, 0.0), (3, 1.0)])
def test_settings_out_of_range(folds: int, val_fraction: float) -> None:
    with pytest.raises(ConfigError, match="Expected"):
        make_folds(cohort_of([("a", 1)] * 9 + [("b", 1)] * 9), folds=folds, val_fraction=val_fraction, seed=0)


def test_final_checks_its_settings() -> None:
    with pytest.raises(ConfigError, match="val_fraction"):
        final_fold(cohort_of([("a", 1)] * 9 + [("b", 1)] * 9), val_fraction=1.5, seed=0)


def test_splits_come_back_from_disk(tmp_path: Path) -> None:
    cohort = cohort_of([('a "quoted", name', 2), ("b", 1)] * 6)
    folds = (*make_folds(cohort, folds=3, val_fraction=0.2, seed=0), final_fold(cohort, val_fraction=0.2, seed=0))
    path = tmp_path / "splits.csv"
    write_splits(path, folds, cohort)
    assert read_splits(path) == folds
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "fold,slide_id,case_id,label,part"
    first = folds[0].train[0]
    slide = cohort.by_id[first]
    quoted = '"a ""quoted"", name"' if slide.label.startswith("a") else "b"
    assert lines[1] == f"fold-0,{first},{slide.case_id},{quoted},train"
    assert [path.name for path in tmp_path.iterdir()] == ["splits.csv"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fold,slide_id,part\n",
        "fold,slide_id,case_id,label,part\nfold-0,s,c,a,trian\n",
        "fold,slide_id,case_id,label,part\nx\n",
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"splits\.csv"):
        read_splits(path)


class TestFoldsAndFinal:
    OPTIONS: ClassVar = {"folds": 2, "val_fraction": 0.5, "seed": 0}

    def test_without_a_split_the_shipped_model_has_a_fold_of_its_own(self) -> None:
        cohort = cohort_of([("a", 2), ("b", 1)] * 6)
        folds, final = folds_and_final(cohort, **self.OPTIONS)
        assert folds == make_folds(cohort, **self.OPTIONS) and final not in folds
        assert final == final_fold(cohort, val_fraction=0.5, seed=0)

    def test_with_a_split_it_is_trained_on_the_slides_of_the_fold(self) -> None:
        parts: list[Split] = ["train", "val", "test"]
        cohort = cohort_of([("a", 2), ("b", 1)] * 3, splits=[part for part in parts for _ in "ab"])
        folds, final = folds_and_final(cohort, **self.OPTIONS)
        assert folds == make_folds(cohort, **self.OPTIONS) and final is folds[0]


def test_a_fold_without_its_failed_slides_must_keep_every_class_and_part() -> None:
    cohort = cohort_of([("a", 2), ("b", 1)] * 6)
    fold = make_folds(cohort, folds=2, val_fraction=0.2, seed=0)[0]
    kept = without_failed(fold, cohort, {fold.train[0]: "gone"})
    assert (kept.name, kept.train, kept.val, kept.test) == (fold.name, fold.train[1:], fold.val, fold.test)
    with pytest.raises(CohortError, match=r"test.*failed: .*gone"):
        without_failed(fold, cohort, dict.fromkeys(fold.test, "gone"))
    of_class = [slide_id for slide_id in fold.train if cohort.by_id[slide_id].label == "a"]
    with pytest.raises(CohortError, match="a, since"):
        without_failed(fold, cohort, dict.fromkeys(of_class, "gone"))
