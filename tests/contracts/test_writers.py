"""Whoever writes a file says which content may be replaced, so that a new writer cannot forget it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import lrmil
import napari_lrmil

ROOTS = [Path(package.__file__).parent for package in (lrmil, napari_lrmil) if package.__file__]
GUARDED = {"replacing": 2, "write_text": 3, "write_json": 3, "remove_ours": 2}  # arguments with the last, `ours`
PLAIN = {
    "remove",
    "rename",
    "put_in_place",
    "move_aside",
    "unlink",
    "rmtree",
    "rmdir",
    "write_bytes",
    "touch",
    "copyfile",
    "open",
}
# Each does what it does to something of ours alone: what it made itself, or what was looked at just before.
ALLOWED = {
    "io/atomic.py": PLAIN | GUARDED.keys(),
    "models/bundle.py": {"write_json"},  # into the temporary folder
    "runs/escalation.py": {"write_json"},
    "more_samples.py": {"replacing", "write_bytes"},  # in the plugin's own cache, where there is no such file
    "models/bundle_weights.py": {"write_json"},
    "runs/artefacts.py": {"write_json"},  # likewise
    "runs/folds.py": {"write_json"},  # likewise
    "runs/evidence.py": {"write_json"},  # likewise
    "runs/linear_heads.py": {"write_json"},  # likewise
    "runs/calibration.py": {"write_json"},  # likewise
    "runs/head_choice.py": {"write_json"},  # likewise
    "runs/stages.py": {"write_json"},  # likewise
    "runs/fold_outputs.py": {"write_json"},  # likewise
    "patches/mask_files.py": {"remove", "rename"},  # a copy that is there twice, and putting a mask aside
    "prediction/files.py": {"remove", "move_aside", "put_in_place"},  # what is ours, a damaged card, and what is free
    "prediction/table.py": {"move_aside", "replacing", "copyfile"},  # to a free name
    "runs/earlier.py": {"move_aside", "rename", "rmdir", "copyfile"},  # into a folder of a free name
    "training/checkpoint.py": {"move_aside"},  # a damaged checkpoint
    "runs/control.py": {"remove"},  # a request that was found to be one
    "demo/model.py": {"remove"},  # leftovers of an exact name
    "runs/log.py": {"open"},  # appended to, once it was found to be a log
    "reviews/log.py": {"open"},  # appended to, never rewritten
    "state/folders.py": {"write_json"},  # the plugin's own folder
    "jobs/training_process.py": {"open"},  # once it was found to be free
    "sample.py": {"open"},  # the plugin's cache
    "state/messages.py": {"open"},
}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            of = getattr(node.func, "value", None)
            if name != "remove" or (isinstance(of, ast.Name) and of.id in ("atomic", "os")):  # lists have one too
                yield name, node


def is_reading(call: ast.Call) -> bool:
    """Whether a call of open may not change a file."""
    modes = [
        one.value for one in [*call.args, *(word.value for word in call.keywords)] if isinstance(one, ast.Constant)
    ]
    return not any(isinstance(mode, str) and set(mode) & set("wax+") and len(mode) <= 3 for mode in modes)


def test_every_writer_says_what_is_ours() -> None:
    found = []
    for root in ROOTS:
        for path in sorted(root.rglob("*.py")):
            for name, call in calls(path):
                if name in ALLOWED.get(path.relative_to(root).as_posix(), ()):
                    continue
                if name in GUARDED and len(call.args) < GUARDED[name]:
                    found.append(f"{path.name}:{call.lineno}: {name} without `ours`")
                if name in PLAIN and not (name == "open" and is_reading(call)):
                    found.append(f"{path.name}:{call.lineno}: {name}")
    assert found == []
