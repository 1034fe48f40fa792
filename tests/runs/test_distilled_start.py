"""What a distilled start has seen is said, and refused on request."""

from dataclasses import replace
from pathlib import Path

import pytest

from lrmil.cohorts.splits import Fold
from lrmil.errors import CohortError, EncoderError
from lrmil.models.encoders.distilled import EncoderCard, make_card, save_encoder
from lrmil.runs.distilled_start import (
    START,
    look_at_start,
    read_start,
    require_unseen,
    start_figures,
    start_remark,
    unmatched,
)
from support.runs import tiny_config, tiny_encoder

FOLDS = (Fold("fold-0", ("a",), ("b",), ("c", "d")), Fold("fold-1", ("c",), ("d",), ("a", "b")))
PRINTS = {"a": "print-a", "b": "print-b", "c": "print-c", "d": "print-d"}


def card_of(*slide_ids: str) -> EncoderCard:
    prints = [f"print-{slide_id}" for slide_id in slide_ids]
    return make_card(tiny_encoder(), prints, mpp_hr=1.0, mpp_lr=2.0, terms={}, stage1={}, fidelity={}, key="k")


@pytest.mark.parametrize(
    ("seen", "tested"),
    [
        ((), {}),
        (("x", "y"), {}),
        (("c",), {"fold-0": ["c"]}),
        (("a", "d", "x"), {"fold-0": ["d"], "fold-1": ["a"]}),
    ],
)
def test_test_slides_are_found_in_each_fold(seen: tuple[str, ...], tested: dict[str, list[str]]) -> None:
    found = start_figures(card_of(*seen), PRINTS, FOLDS)
    assert found == {"slides": len(seen), "seen": len({*seen} & PRINTS.keys()), "tested": tested}


def test_training_slides_alone_are_no_leak() -> None:
    found = start_figures(card_of("a", "b"), PRINTS, FOLDS[:1])
    require_unseen(found)
    assert "2 of them are in this cohort, none is tested on" in start_remark(found)


def test_a_leak_is_said_and_refused_with_the_slides() -> None:
    found = start_figures(card_of("c", "a"), PRINTS, FOLDS)
    assert "2 of the test slides" in start_remark(found)
    with pytest.raises(CohortError, match=r"2 of them without labels: 'a', 'c'\. .*--strict"):
        require_unseen(found)


@pytest.mark.parametrize("edited", [None, [], "text", {}, {"tested": 3}, {"tested": {"fold-0": "c"}}])
def test_edited_figures_break_no_report(edited: object) -> None:
    assert isinstance(start_remark(edited), str)


def test_other_patches_than_those_of_the_encoder_are_said() -> None:
    config = tiny_config()
    assert unmatched(card_of(), config) == []
    other = replace(config, mpp_lr=4.0, patch_size=128)
    assert [sentence.split(",")[0].split("at ")[1] for sentence in unmatched(card_of(), other)] == ["2 um/px", "64 px"]
    (said,) = unmatched(card_of(), replace(config, embedding="mean"))
    assert '"pooled"' in said and '"mean"' in said


def test_an_encoder_that_student_and_teacher_share_is_looked_at_too(tmp_path: Path) -> None:
    save_encoder(tmp_path, tiny_encoder(), card_of("c"))
    shared = tiny_config(encoder=f"local-dir:{tmp_path}")
    found = read_start(shared)
    assert found is not None and found.has_seen("print-c")
    assert read_start(replace(shared, student_encoder="test_vit")) is None


def test_a_run_looks_at_the_folder_it_starts_from(tmp_path: Path) -> None:
    save_encoder(tmp_path, tiny_encoder(), card_of("c"))
    config = tiny_config(student_encoder=f"local-dir:{tmp_path}")
    steps = look_at_start(config, PRINTS, FOLDS, strict=False)
    messages = []
    with pytest.raises(StopIteration) as ended:
        while True:
            messages.append(next(steps).message)
    assert (
        ended.value.value == {START: start_figures(card_of("c"), PRINTS, FOLDS)}
        and "1 of the test slides" in messages[0]
    )
    with pytest.raises(CohortError):
        next(look_at_start(config, PRINTS, FOLDS, strict=True))
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(EncoderError, match="changed"):
        read_start(config)


def test_other_starts_are_of_no_concern(tmp_path: Path) -> None:
    for name in ("", "test_resnet", f"local-dir:{tmp_path}", "hf-hub:a/b"):
        assert read_start(tiny_config(student_encoder=name)) is None
