"""The log and the folds of a run that is at work."""

from pathlib import Path

START = b'{"time": 1.0, "start": true, "plan": "p"}\n'

LOG = (
    START
    + b'{"time": 2.0, "job": ["LR features", "a"], "done": 3, "total": 4, "unit": "patches"}\n'
    + b'{"time": 3.0, "job": ["fold-0", "teacher"], "done": 1, "total": 2, "unit": "steps", "metrics": {"epoch": 1}}\n'
    + b'{"time": 4.0, "job": ["fold-0"], "done": 1, "total": 1, "unit": "folds"}\n'
    + b'{"time": 6.0, "job": ["fold-1", "stage 1"], "done": 1, "total": 9, "unit": "steps", "message": "so so"}\n'
    + b'{"time": 7.0, "job": ["fold-1", "stage 1"], "done": 3, "total": 9, "unit": "steps"}\n'
)


def write_split_rows(run: Path, *folds: str) -> None:
    rows = [f"{fold},a,a,x,train" for fold in (*folds, *folds)]
    (run / "splits.csv").write_text("\n".join(["fold,slide_id,case_id,label,part", *rows]) + "\n")
