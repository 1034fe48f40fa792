"""Where the parts of an arm lie: what the map says is what a run wrote."""

from pathlib import Path
from typing import get_args

import pytest

from lrmil.cohorts.splits import read_splits
from lrmil.configs import Teacher
from lrmil.features.store import read_card
from lrmil.runs.arms import ARMS, HR, attended_along, encoded_of, features_of, lr_folder, mil_folder, nested_of
from lrmil.runs.fold_outputs import read_outputs
from support.runs import TinyRun

TEACHERS: tuple[Teacher, ...] = get_args(Teacher)
MPP = {"hr_teacher": 2.0, "lr_undistilled": 2.0, "lr_student": 2.0}


def test_the_map_finds_everything_that_a_run_wrote(tiny_run: TinyRun) -> None:
    run = tiny_run.folder
    found = {path for path in run.rglob("*.zarr") if path.is_dir()}
    named, encoders = set(), {}
    for fold in read_splits(run / "splits.csv"):
        outputs = read_outputs(run / fold.name)
        assert tuple(outputs) == ARMS
        for arm in ARMS:
            assert (mil_folder(run, fold.name, arm) / "mil.safetensors").is_file()
            for slide_id in fold.train + fold.val + fold.test:
                path = features_of(run, fold.name, slide_id, arm, teacher="region")
                card = read_card(path)
                assert (card.slide_id, card.mpp) == (slide_id, MPP[arm])
                encoders[arm] = card.encoder_hash
                named |= {path, encoded_of(run, fold.name, slide_id, arm)}
            for slide_id, output in outputs[arm].items():
                read = read_card(features_of(run, fold.name, slide_id, arm, teacher="region"))
                assert len(output.attention_logits) == read.total - read.failed
    assert named == found
    assert encoders["hr_teacher"] == encoders["lr_undistilled"] != encoders["lr_student"]


def test_parts_lie_where_earlier_versions_wrote_them() -> None:
    run = Path("run")
    assert {arm: encoded_of(run, "fold-0", "a", arm).relative_to(run).as_posix() for arm in ARMS} == {
        "hr_teacher": "shared/hr/a.zarr",
        "lr_undistilled": "shared/lr/a.zarr",
        "lr_student": "fold-0/lr/a.zarr",
    }
    assert {arm: mil_folder(run, "fold-0", arm).relative_to(run).as_posix() for arm in ARMS} == {
        "hr_teacher": "fold-0/teacher",
        "lr_undistilled": "fold-0/lr_undistilled",
        "lr_student": "fold-0/lr_student",
    }


@pytest.mark.parametrize("arm", ["hr_teacher", "lr_undistilled"])
@pytest.mark.parametrize("teacher", TEACHERS)
def test_features_of_the_frozen_encoder_are_of_no_fold(arm: str, teacher: Teacher) -> None:
    shared = features_of(Path("run"), None, "s", arm, teacher=teacher)
    assert shared == features_of(Path("run"), "fold-3", "s", arm, teacher=teacher)
    assert encoded_of(Path("run"), None, "s", arm) == features_of(Path("run"), None, "s", arm, teacher="patch")


def test_a_teacher_attends_to_regions_or_to_what_the_encoder_read() -> None:
    attended = {kind: features_of(Path("run"), None, "s", "hr_teacher", teacher=kind) for kind in TEACHERS}
    patches = Path("run") / HR / "s.zarr"
    assert attended["region"] == attended["region_attention"] != attended["patch"] == patches
    assert {kind: attended_along(4, teacher=kind) for kind in TEACHERS} == {
        "region": 1,
        "region_attention": 1,
        "patch": 4,
    }


def test_only_one_teacher_weighs_patches_within_what_it_attends_to() -> None:
    found = {(kind, arm): nested_of(Path("run"), "s", arm, teacher=kind) for kind in TEACHERS for arm in ARMS}
    assert found.pop(("region_attention", "hr_teacher")) == Path("run") / HR / "s.zarr"
    assert set(found.values()) == {None}


def test_features_of_the_student_are_of_one_fold() -> None:
    run = Path("run")
    one, other = (features_of(run, fold, "s", "lr_student", teacher="region") for fold in ("fold-0", "fold-1"))
    assert one != other and one.parent == lr_folder(run, "fold-0")
    with pytest.raises(ValueError, match="Expected a fold"):
        features_of(run, None, "s", "lr_student", teacher="region")
