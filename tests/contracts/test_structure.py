"""Tests mirror the rooms, and no module or function grows beyond what a reader takes in."""

import ast
from pathlib import Path
from statistics import median

from support.paths import REPOSITORY

SRC, TESTS = REPOSITORY / "src", REPOSITORY / "tests"
LONGEST_MODULE, MEDIAN_MODULE, LONGEST_FUNCTION = 300, 120, 60  # lines
MODULES = sorted(path for path in SRC.rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))

# Modules whose tests are elsewhere: the file, or the folder, that tests them.
TESTED_ELSEWHERE = {
    # Values without behaviour.
    "lrmil/prediction/options.py": "prediction/test_batch.py",
    "lrmil/prediction/prediction.py": "prediction/test_inference.py",
    "lrmil/tasks/trust.py": "tasks/test_class_curves.py",
    "lrmil/training/fidelity_figures.py": "training/test_fidelity.py",
    # What heads share, as each of them shows.
    "lrmil/models/heads/pooling.py": "models/heads/test_mean_pooling.py",
    # Stages that mean something only in a whole training.
    "lrmil/runs/fold_task.py": "runs/test_changes.py",
    "lrmil/runs/fold_training.py": "runs/test_train.py",
    "lrmil/runs/encoder_training.py": "runs/test_train.py",
    "lrmil/runs/folds.py": "runs/test_train.py",
    "lrmil/runs/start_encoders.py": "runs/test_frozen.py",
    "lrmil/runs/stages.py": "runs/test_changes.py",
    # Parts of the audit, which whole runs show.
    **{
        f"lrmil/runs/audit_{part}.py": "runs/test_audit.py"
        for part in ("answers", "features", "files", "inputs", "learning", "model", "results", "settings", "splits")
    },
    # The commands of a whole chain.
    "lrmil/cli/commands/demo.py": "contracts/test_users_files.py",
    "lrmil/prediction/evaluation.py": "cli/commands/test_evaluate.py",
    # Parts that the whole shows.
    "lrmil/cli/review_logs.py": "cli/commands/test_reviews.py",
    "lrmil/io/headers.py": "io/test_ownership.py",
    "lrmil/features/chosen_patches.py": "features/test_extraction.py",
    "lrmil/models/bundle_weights.py": "models/test_bundle.py",
    "lrmil/models/encoders/golden.py": "models/encoders/test_contract.py",
    "lrmil/prediction/clock.py": "prediction/test_one.py",
    "lrmil/prediction/exports.py": "prediction/test_files.py",
    "lrmil/prediction/escalation.py": "prediction/test_closer_look.py",
    "lrmil/prediction/unfinished.py": "prediction/test_inference.py",
    "lrmil/runs/chosen_heads.py": "runs/test_head_choice.py",
    "lrmil/runs/calibrated_figures.py": "runs/test_calibration.py",
    "lrmil/runs/escalation_figures.py": "runs/test_escalation.py",
    "lrmil/slides/dask_workers.py": "slides/test_workers.py",
    "lrmil/summary.py": "test_metrics.py",
    "lrmil/tasks/escalation_curve.py": "runs/test_escalation.py",
    "lrmil/tasks/answers.py": "tasks/test_abstention.py",
    "lrmil/tasks/class_measures.py": "tasks/test_classification.py",
    "lrmil/tasks/class_wording.py": "tasks/test_classification.py",
    # Parts of a dock are tested as the user meets them: in the dock.
    "napari_lrmil/widgets/classify": "napari/docks/test_classify.py",
    "napari_lrmil/widgets/train": "napari/docks/test_train.py",
    "napari_lrmil/widgets/worklist": "napari/docks/test_worklist.py",
    "napari_lrmil/widgets/parts.py": "napari/docks/test_classify.py",
    "napari_lrmil/widgets/device_box.py": "napari/docks/test_classify.py",
    "napari_lrmil/session/worklist_viewer.py": "napari/docks/test_worklist.py",
    "napari_lrmil/session/following.py": "napari/session/test_right_answer.py",
    "napari_lrmil/widgets/worklist/answers.py": "napari/docks/test_two_models.py",
    "napari_lrmil/widgets/worklist/labels.py": "napari/docks/test_two_models.py",
    "napari_lrmil/widgets/worklist/opening.py": "napari/docks/test_two_models.py",
    "napari_lrmil/session/model_in_use.py": "napari/docks/test_other_model.py",
    "napari_lrmil/widgets/back_button.py": "napari/docks/test_other_model.py",
    "napari_lrmil/session/mask_watch.py": "napari/docks/test_right_slide.py",
    "napari_lrmil/session/reading.py": "napari/docks/test_layout.py",
    "napari_lrmil/widgets/session_dock.py": "napari/docks/test_layout.py",
    "napari_lrmil/state/painted_mask.py": "napari/docks/test_right_slide.py",
    "napari_lrmil/state/drawn_on.py": "napari/session/test_where.py",
    "napari_lrmil/widgets/questions.py": "napari/docks/test_right_slide.py",
    "napari_lrmil/session/reviewing.py": "napari/docks/test_review_keys.py",
    "napari_lrmil/widgets/review_strip.py": "napari/docks/test_review_keys.py",
    "napari_lrmil/widgets/wheel.py": "napari/docks/test_wheel.py",
    "lrmil/models/encoders/folder.py": "models/encoders/test_weights.py",
    "lrmil/slides/readers/synthetic.py": "demo/test_synthetic.py",
    "napari_lrmil/layers/slides.py": "napari/docks/test_chosen_slide.py",
    "napari_lrmil/state/review_log.py": "napari/widgets/classify/test_review_box.py",
}
# Tests of what no single module does: why they have a file of their own.
WITHOUT_MODULE = {
    "cli/test_main.py": "the function `main`, which is in `__init__`",
    "models/encoders/test_pathology_encoders.py": "stand-ins of large encoders through extraction and training",
    "napari/docks/test_accessible.py": "names of controls, over all docks",
    "napari/docks/test_chosen_slide.py": "both docks agree about the slide that is chosen",
    "napari/docks/test_display.py": "what needs a canvas",
    "napari/docks/test_layout.py": "where the docks stand, what is in view, and that nothing moves by itself",
    "napari/docks/test_other_model.py": "another model replaces the present one only after a question",
    "napari/docks/test_right_slide.py": "the slide, mask and model that count are those on the screen",
    "napari/docks/test_review_keys.py": "one key for each slide, over worklist, strip and log",
    "napari/docks/test_two_models.py": "answers and reviews of two models to one list, over both docks",
    "napari/docks/test_wheel.py": "every control of every dock",
    "napari/jobs/test_closed_window.py": "a whole program, whose window is closed while a job runs",
    "napari/session/test_right_answer.py": "actions in any order, on session and layers",
    "napari/docks/test_slide_errors.py": "sentences of the core arrive in the windows",
    "napari/docks/test_worklist_faults.py": "faults of slides and folders in the table",
    "napari/docks/test_worklist_files.py": "no file of the user is lost",
    "napari/layers/test_averaged_on_screen.py": "averaged levels on a canvas",
    "napari/test_manifest.py": "the manifest, which is no module",
    "napari/test_window_messages.py": "promised messages of the windows, over all docks",
    "napari/test_windows.py": "a fixture of the tests",
    "prediction/test_batch_on_workers.py": "the slides of a batch in other processes, whichever is killed",
    "prediction/test_decided.py": "models that decide and doubt, from slide to files",
    "prediction/test_edited_predictions.py": "answers that someone edited, from file to run",
    "runs/test_audit_sound.py": "the audit of sound runs of every kind",
    "runs/test_bad_cohort.py": "a cohort of which a fifth is bad",
    "runs/test_region_attention.py": "a teacher with attention within regions, through a whole run",
    "slides/readers/test_sparse_tiles.py": "tiles that were never written, over all levels of a slide",
    "slides/readers/test_vendor_formats.py": "formats of scanners, over all readers",
    "slides/test_copied_metadata.py": "metadata of another picture, from the file to the um/px",
    "tasks/test_new_task.py": "a task that only tests know, from label to score",
}


def mirror_of(module: Path) -> str:
    """The name of a module's test file, below `tests`."""
    package, *rooms, name = module.relative_to(SRC).parts
    return "/".join([*(["napari"] if package == "napari_lrmil" else []), *rooms, f"test_{name}"])


def place_elsewhere(module: Path) -> str | None:
    """What tests a module that has no test file of its own."""
    name = module.relative_to(SRC).as_posix()
    return next((test for at, test in TESTED_ELSEWHERE.items() if name == at or name.startswith(at + "/")), None)


def test_a_module_has_a_test_file() -> None:
    bare = [mirror_of(one) for one in MODULES if not (TESTS / mirror_of(one)).is_file() and not place_elsewhere(one)]
    assert bare == [], "Write these files, or say in TESTED_ELSEWHERE what tests their modules."


def test_a_test_file_has_a_module() -> None:
    mirrored = {mirror_of(module) for module in MODULES}
    found = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")}
    stray = {name for name in found - mirrored if not name.startswith("contracts/")}
    assert stray == WITHOUT_MODULE.keys(), "Name a test file after its module, or say in WITHOUT_MODULE why not."


def test_exceptions_are_needed_and_name_what_is_there() -> None:
    assert [test for test in TESTED_ELSEWHERE.values() if not (TESTS / test).is_file()] == []
    covered = {at: [m for m in MODULES if m.relative_to(SRC).is_relative_to(at)] for at in TESTED_ELSEWHERE}
    idle = [at for at, its in covered.items() if all((TESTS / mirror_of(one)).is_file() for one in its)]
    assert idle == [], "these modules have test files of their own, or are gone"


def test_a_module_is_read_in_one_go() -> None:
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in SRC.rglob("*.py")}
    assert {str(path): count for path, count in lines.items() if count > LONGEST_MODULE} == {}
    assert median(lines[path] for path in MODULES) <= MEDIAN_MODULE


def test_a_function_is_read_in_one_go() -> None:
    long = {}
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > LONGEST_FUNCTION:
                long[f"{path.relative_to(SRC).as_posix()}: {node.name}"] = length(node)
    assert long == {}


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function with its docstring."""
    return (function.end_lineno or 0) - function.lineno + 1
