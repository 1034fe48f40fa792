"""One fold from frozen features to the three arms: teacher, stage 1, LR features, stage 2, floor (method.md section 3).

Every artefact names the slides it was made from; none of them is a test slide of the fold.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from lrmil.cohorts.splits import Fold
from lrmil.configs import TrainConfig
from lrmil.errors import SlideError
from lrmil.features.extraction import SlideSource, extract_features
from lrmil.features.store import read_card, read_features
from lrmil.io import atomic, hashing
from lrmil.io.ownership import is_checkpoint
from lrmil.io.tensors import load_tensors, save_tensors
from lrmil.models.encoders.loading import Encoder, PatchEncoder, encoder_hash
from lrmil.models.heads.abmil import predict_bag
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import ARMS, features_folder, features_of, mil_folder
from lrmil.runs.artefacts import changed_inputs, committing, is_committed, key_of, load_into
from lrmil.runs.fold_outputs import load_mil, read_evidence
from lrmil.steps import Step, relay
from lrmil.training.bags import Bag, student_bag
from lrmil.training.pairs import PairedSlide
from lrmil.training.patch_stage import Student, train_student
from lrmil.training.slide_stage import train_mil

INPUTS = {
    "mil": "settings of the MIL",
    "stage1": "settings of stage 1",
    "stage2": "settings of stage 2",
    "seed": "seed",
    "start": "encoder that the student starts from",
    "train": "training slides, their labels or features",
    "val": "validation slides, their labels or features",
    "slides": "slides or their features",
    "teacher": "teacher",
    "evidence": "teacher's evidence",
    "models": "trained models",
}


@dataclass(frozen=True, slots=True)
class FoldTask:
    """What all stages of a fold share.

    Attributes
    ----------
    run
        The run's folder.
    fold
        Slide ids to train, validate and test on.
    sources, labels
        By slide id: where the slide is, and its class index.
    n_classes
        Number of classes.
    student_start
        Where the LR encoder starts.
    plan
        Which patches of a slide are meant.
    """

    run: Path
    fold: Fold
    sources: Mapping[str, SlideSource]
    labels: Mapping[str, int]
    n_classes: int
    student_start: Encoder
    plan: PatchPlan
    config: TrainConfig
    device: torch.device

    @property
    def folder(self) -> Path:
        """Folder of the fold's artefacts."""
        return self.run / self.fold.name

    @property
    def slide_ids(self) -> tuple[str, ...]:
        """Every slide of the fold."""
        return self.fold.train + self.fold.val + self.fold.test

    def features(self, arm: str, slide_id: str) -> Path:
        """Features that an arm reads of a slide."""
        return features_of(self.run, self.fold.name, slide_id, arm)

    def mil(self, arm: str) -> Path:
        """Folder of an arm's MIL."""
        return mil_folder(self.run, self.fold.name, arm)

    def seed(self, purpose: str) -> int:
        """Seed for one purpose in this fold."""
        return int(hashing.sha256_of([self.config.seed, self.fold.name, purpose])[:8], 16)


def run_fold(task: FoldTask) -> Iterator[Step[Path]]:
    """Train and test the three arms of a fold; what is already there and current is passed over.

    Yields
    ------
    Step
        Of every stage in turn; the last carries the fold's folder.
    """
    atomic.remove_leftovers(task.folder)
    yield from _teacher(task)
    yield from _evidence(task)
    yield from _stage1(task)
    yield from _lr_features(task)
    yield from _stage2(task)
    yield from _floor(task)
    yield from _outputs(task)
    yield Step((task.fold.name,), 1, 1, "folds", result=task.folder)


def load_lr_encoder(task: FoldTask) -> Encoder:
    """Load the fold's distilled LR encoder."""
    path = task.folder / "lr_encoder/encoder.safetensors"
    return load_into(copy.deepcopy(task.student_start), load_tensors(path), path)


def _teacher(task: FoldTask) -> Iterator[Step[Path]]:
    bags = {
        slide_id: Bag(slide_id, task.features("hr_teacher", slide_id), task.labels[slide_id])
        for slide_id in task.slide_ids
    }
    yield from _train_mil(task, "teacher", bags)


def _floor(task: FoldTask) -> Iterator[Step[Path]]:
    bags = {
        slide_id: Bag(slide_id, task.features("lr_undistilled", slide_id), task.labels[slide_id])
        for slide_id in task.slide_ids
    }
    yield from _train_mil(task, "lr_undistilled", bags)


def _stage2(task: FoldTask) -> Iterator[Step[Path]]:
    evidence = read_evidence(task.folder)
    bags = {
        slide_id: student_bag(
            slide_id,
            task.features("lr_student", slide_id),
            task.features("hr_teacher", slide_id),
            task.labels[slide_id],
            evidence[slide_id],
            children=task.plan.children,
        )
        for slide_id in task.fold.train + task.fold.val
    }
    start = load_tensors(task.folder / "teacher/mil.safetensors") if task.config.stage2.warm_start else None
    yield from _train_mil(task, "lr_student", bags, start=start, distil=True)


def _train_mil(
    task: FoldTask, name: str, bags: Mapping[str, Bag], *, start: dict[str, Tensor] | None = None, distil: bool = False
) -> Iterator[Step[Path]]:
    config = task.config
    inputs = {
        "what": name,
        "mil": asdict(config.mil),
        "seed": task.seed("mil"),
        "train": {
            slide_id: [task.labels[slide_id], read_card(bags[slide_id].features).key] for slide_id in task.fold.train
        },
        "val": {
            slide_id: [task.labels[slide_id], read_card(bags[slide_id].features).key] for slide_id in task.fold.val
        },
    }
    if distil:
        inputs |= {"stage2": asdict(config.stage2), "evidence": key_of(task.folder / "evidence")}
    folder = task.folder / name
    if is_committed(folder, inputs):
        return
    yield from _say_why(task, name, folder, inputs)
    checkpoint = task.folder / f"{name}.checkpoint.safetensors"
    fit = yield from relay(
        train_mil(
            (task.fold.name, name),
            [bags[slide_id] for slide_id in task.fold.train],
            [bags[slide_id] for slide_id in task.fold.val],
            n_classes=task.n_classes,
            config=config.mil,
            stage2=config.stage2 if distil else None,
            start=start,
            seed=task.seed("mil"),
            checkpoint=checkpoint,
            key=hashing.sha256_of(inputs),
            device=task.device,
        )
    )
    with committing(folder, inputs) as temporary:
        save_tensors(temporary / "mil.safetensors", fit.module.state_dict())
        atomic.write_json(temporary / "history.json", fit.history)
    atomic.remove_ours(checkpoint, is_checkpoint)


def _evidence(task: FoldTask) -> Iterator[Step[Path]]:
    slide_ids = task.fold.train + task.fold.val
    inputs = {
        "what": "evidence",
        "teacher": key_of(task.folder / "teacher"),
        "slides": {slide_id: read_card(task.features("hr_teacher", slide_id)).key for slide_id in slide_ids},
    }
    folder = task.folder / "evidence"
    if is_committed(folder, inputs):
        return
    yield from _say_why(task, "evidence", folder, inputs)
    mil = load_mil(task.folder / "teacher", task.n_classes, task.config.mil)
    tensors: dict[str, Tensor] = {}
    for done, slide_id in enumerate(slide_ids, 1):
        output = predict_bag(mil, torch.from_numpy(read_features(task.features("hr_teacher", slide_id)).embeddings))
        tensors[f"{slide_id}/logits"] = torch.from_numpy(output.logits)
        tensors[f"{slide_id}/attention_logits"] = torch.from_numpy(output.attention_logits)
        yield Step((task.fold.name, "evidence"), done, len(slide_ids), "slides")
    with committing(folder, inputs) as temporary:
        save_tensors(temporary / "evidence.safetensors", tensors)


def _stage1(task: FoldTask) -> Iterator[Step[Path]]:
    config = task.config.stage1
    attended = config.weighting == "teacher_attention"
    slide_ids = task.fold.train + task.fold.val
    inputs = {
        "what": "lr_encoder",
        "stage1": {**asdict(config), "layers": list(config.layers)},
        "seed": task.seed("stage1"),
        "start": encoder_hash(task.student_start),
        "evidence": key_of(task.folder / "evidence") if attended else None,
        "train": {slide_id: _pair_keys(task, slide_id) for slide_id in task.fold.train},
        "val": {slide_id: _pair_keys(task, slide_id) for slide_id in task.fold.val},
    }
    folder = task.folder / "lr_encoder"
    if is_committed(folder, inputs):
        return
    yield from _say_why(task, "stage 1", folder, inputs)
    evidence = read_evidence(task.folder) if attended else {}
    pairs = {
        slide_id: PairedSlide(
            task.sources[slide_id],
            task.features("lr_undistilled", slide_id),
            task.features("hr_teacher", slide_id),
            task.plan.children,
            evidence[slide_id].attention_logits if attended else None,
        )
        for slide_id in slide_ids
    }
    checkpoint = task.folder / "lr_encoder.checkpoint.safetensors"
    fit = yield from relay(
        train_student(
            (task.fold.name, "stage 1"),
            task.student_start,
            [pairs[slide_id] for slide_id in task.fold.train],
            [pairs[slide_id] for slide_id in task.fold.val],
            config=config,
            seed=task.seed("stage1"),
            checkpoint=checkpoint,
            key=hashing.sha256_of(inputs),
            device=task.device,
            threads=task.config.threads,
        )
    )
    if not isinstance(fit.module, Student):
        raise TypeError(f"Expected a Student from stage 1. Got {type(fit.module).__name__}.")
    with committing(folder, inputs) as temporary:
        save_tensors(temporary / "encoder.safetensors", fit.module.encoder.state_dict())
        atomic.write_json(temporary / "history.json", fit.history)
    atomic.remove_ours(checkpoint, is_checkpoint)


def _lr_features(task: FoldTask) -> Iterator[Step[Path]]:
    encoder = load_lr_encoder(task)
    patch_encoder = PatchEncoder(encoder, task.device, batch_size=task.config.batch_size)
    steps = extract_features(
        [task.sources[slide_id] for slide_id in task.slide_ids],
        patch_encoder,
        encoder_hash(encoder),
        features_folder(task.run, task.fold.name, "lr_student"),
        task.plan,
        threads=task.config.threads,
        job=(task.fold.name, "LR features"),
    )
    for outcome in (yield from relay(steps)):
        if outcome.path is None:
            raise SlideError(f"{outcome.slide_id} could be read before and cannot be now: {outcome.message}")


def _outputs(task: FoldTask) -> Iterator[Step[Path]]:
    inputs = {
        "what": "outputs",
        "models": {arm: key_of(task.mil(arm)) for arm in ARMS},
        "slides": {arm: {i: read_card(task.features(arm, i)).key for i in task.fold.test} for arm in ARMS},
    }
    folder = task.folder / "outputs"
    if is_committed(folder, inputs):
        return
    yield from _say_why(task, "test hr_teacher", folder, inputs)
    probabilities: dict[str, dict[str, list[float]]] = {arm: {} for arm in ARMS}
    tensors: dict[str, Tensor] = {"none": torch.zeros(0)}
    for arm in ARMS:
        mil = load_mil(task.mil(arm), task.n_classes, task.config.mil)
        for done, slide_id in enumerate(task.fold.test, 1):
            output = predict_bag(mil, torch.from_numpy(read_features(task.features(arm, slide_id)).embeddings))
            probabilities[arm][slide_id] = output.probabilities.tolist()
            tensors[f"{arm}/{slide_id}/logits"] = torch.from_numpy(output.logits)
            tensors[f"{arm}/{slide_id}/attention_logits"] = torch.from_numpy(output.attention_logits)
            yield Step((task.fold.name, f"test {arm}"), done, len(task.fold.test), "slides")
    with committing(folder, inputs) as temporary:
        atomic.write_json(temporary / "probabilities.json", probabilities)
        save_tensors(temporary / "outputs.safetensors", tensors)


def _say_why(task: FoldTask, job: str, folder: Path, inputs: Mapping[str, object]) -> Iterator[Step[Path]]:
    """Say why an artefact that is there is made again."""
    if changed := [INPUTS[name] for name in changed_inputs(folder, inputs)]:
        yield Step((task.fold.name, job), 0, message=f"made again, for other: {'; '.join(changed)}")


def _pair_keys(task: FoldTask, slide_id: str) -> list[str]:
    return [
        read_card(task.features("lr_undistilled", slide_id)).key,
        read_card(task.features("hr_teacher", slide_id)).key,
    ]
