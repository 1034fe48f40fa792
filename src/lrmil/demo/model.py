"""A small model for the demonstration's slide, trained offline within half a minute.

It is trained by both stages of the method on a small synthetic cohort, when it is first requested. Its settings were
tuned on such slides, so it demonstrates the software and is not a result.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from lrmil import __version__
from lrmil.configs import TrainConfig, with_settings
from lrmil.demo.slide import STRENGTH
from lrmil.demo.synthetic import make_cohort_steps
from lrmil.errors import FormatError
from lrmil.io import atomic, hashing
from lrmil.io.locks import lock_at
from lrmil.io.ownership import is_bundle_alone, require_free
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.models.card import read_model_card
from lrmil.models.synthetic import SYNTHETIC
from lrmil.runs.train import train_steps
from lrmil.steps import Step, relay

REMARK = (
    "Demonstration: trained within half a minute on a few synthetic slides to show the software. It knows nothing of "
    "real tissue and is of no medical use."
)
MAKING = ".lrmil-making-"
LEFTOVER = re.compile(re.escape(MAKING) + r"[a-z0-9_]{8}")  # `tempfile` adds eight characters
JOB = ("demonstration model",)
PAUSE = 0.5  # seconds between checks whether another program has finished the model
COHORT = {"slides": 20, "size": 1024, "seed": 1, "strength": STRENGTH}
SETTINGS: dict[str, object] = {
    "encoder": "test_resnet",  # timm's smallest, with random weights, so that nothing is downloaded
    "pretrained": False,
    "patch_size": 64,
    "stage1.lambda_keep": 0.0,
    "stage1.standardised": True,
    "stage1.batch_size": 8,
    "stage1.fit.steps": 120,
    "stage1.fit.interval": 20,
    "stage1.fit.learning_rate": 4e-3,
    "mil.standardised": True,
    "mil.slides_per_step": 4,
    "mil.fit.epochs": 40,
    "stage2.lambda_bag": 1.0,
    "stage2.lambda_soft": 1.0,
    "stage2.lambda_hard": 1.0,
    "stage2.warm_start": True,
    "stage2.warm_start_r2": 0.0,
}


def demo_model_steps(folder: Path, *, device: str = "auto") -> Iterator[Step[Path]]:
    """Train the demonstration's model, in about 25 s on one core, unless it exists.

    Parameters
    ----------
    folder
        Folder that keeps the model; temporary files of the training are deleted.
    device
        As in `train_steps`.

    Yields
    ------
    Step
        Progress of slides and training; the result of the last is the model folder.

    Raises
    ------
    OverwriteError
        If something else has the model's name.
    """
    model = folder / f"demo-model-{_key()}"
    if not _is_there(model):
        require_free(model, is_bundle_alone)
        atomic.make_folder(folder)
        yield from _make_alone(model, folder, device)
    yield Step(JOB, 1, 1, "models", model)


def _make_alone(model: Path, folder: Path, device: str) -> Iterator[Step[Path]]:
    """Train the model unless another program is doing so."""
    lock = lock_at(folder / "model.lock")
    try:
        yield from _acquire(lock)
        for left in [path for path in folder.iterdir() if LEFTOVER.fullmatch(path.name)]:
            atomic.remove(left)  # of a killed program: while the lock is held, no other program works here
        if not _is_there(model):
            with _one_thread():
                yield from _make(model, folder, device)
    finally:
        lock.release()


def _acquire(lock: FileLock) -> Iterator[Step[Path]]:
    message = "another program is making it"
    while not lock.is_locked:
        try:
            lock.acquire(timeout=PAUSE)
        except Timeout:
            yield Step((*JOB, "wait"), 0, message=message)
            message = ""


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: two do not speed up so small a network, and wait long on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _make(model: Path, folder: Path, device: str) -> Iterator[Step[Path]]:
    with tempfile.TemporaryDirectory(dir=folder, prefix=MAKING, ignore_cleanup_errors=True) as temporary:
        work = Path(temporary)
        yield from relay(make_cohort_steps(work, **COHORT))  # type: ignore[arg-type]
        config = with_settings(TrainConfig(), SETTINGS)
        steps = train_steps(work / "slides", work / "labels.csv", work / "run", config, device=device)
        run = yield from relay(steps)
        bundle = load_bundle(run.model)
        save_bundle(model, replace(bundle, training={**bundle.training, "remark": REMARK}))


def _is_there(model: Path) -> bool:
    try:
        read_model_card(model)
    except FormatError:
        return False
    return True


def _key() -> str:
    return hashing.sha256_of([__version__, COHORT, SETTINGS, REMARK, SYNTHETIC])[:8]
