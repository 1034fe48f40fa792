"""Read and write the outputs of a fold: MILs, outputs of the teacher and on test slides, metrics of epochs."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, FiniteFloat, TypeAdapter
from pydantic.dataclasses import dataclass
from torch import Tensor

from lrmil.configs import MILConfig
from lrmil.errors import FormatError, ModelError
from lrmil.io import atomic
from lrmil.io.documents import read_json_document
from lrmil.io.tensors import load_into, load_tensors, save_tensors
from lrmil.models.finite import require_finite
from lrmil.models.heads.choice import kind_of, make_stated
from lrmil.models.heads.head import BagOutput, MILHead
from lrmil.models.heads.kinds import HeadCard, card_in
from lrmil.runs.artefacts import read_document
from lrmil.training.bags import TeacherOutput

WEIGHTS = "mil.safetensors"
HEAD = "head.json"
EVIDENCE = "evidence.json"


class SlideOutput(NamedTuple):
    """Output of an arm for a test slide."""

    values: NDArray[np.float64]
    """(k,) values of the task; for a classification, the probabilities of the classes."""
    logits: NDArray[np.float32]
    """(c,) outputs of the network."""
    attention_logits: NDArray[np.float32]
    """(n,) one for each patch."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Evidence:
    """Where the teacher's outputs for stage 2 come from, and whether stage 2 learns from them."""

    inner_folds: int = 0
    """Number of inner folds; with 0, the outputs are those of the teacher on its own training slides."""
    reason: str = ""
    """Why there are fewer inner folds than asked for, or none."""
    teacher: float | None = None
    """Score of the teacher on the slides of inner folds that it was not trained on; None where it is not defined."""
    baseline: float | None = None
    """The same of the undistilled baseline."""
    used: bool = True
    """False if the teacher is below the baseline, or has no weight: stage 2 then learns from labels alone."""

    def to_dict(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return asdict(self)


def save_mil(folder: Path, mil: MILHead) -> None:
    """Write the weights of a MIL into a folder, with its name and dimensions in a file beside them.

    Parameters
    ----------
    folder
        Temporary folder of the artefact.
    mil
        The MIL.
    """
    save_tensors(folder / WEIGHTS, mil.state_dict())
    atomic.write_json(folder / HEAD, {**kind_of(mil), "in_dim": mil.in_dim, "outputs": mil.outputs})


def load_mil(folder: Path, config: MILConfig) -> MILHead:
    """Load a MIL of a fold.

    Parameters
    ----------
    folder
        Folder of the artefact.
    config
        Settings of the MIL.

    Raises
    ------
    FormatError
        If it is damaged, or this version does not know its head.
    """
    path = folder / WEIGHTS
    tensors = load_tensors(path)
    stated = os.path.lexists(folder / HEAD)
    card = card_in(read_json_document(folder / HEAD)) if stated else _earlier_card(tensors)
    build = partial(make_stated, card.in_dim, card.outputs, config, card)
    with torch.device("meta"):  # allocate nothing before the stated sizes are those of the weights
        expected = {name: value.shape for name, value in build().state_dict().items()}
    if expected != {name: value.shape for name, value in tensors.items()}:
        raise FormatError(
            f"The weights in {path} do not fit the network. Delete the folder '{folder.name}' that contains them, then "
            "rerun the same command; only that folder is recomputed."
        )
    return load_into(build(), tensors, path).eval()


def _earlier_card(tensors: Mapping[str, Tensor]) -> HeadCard:
    """Return the dimensions from the weights, for runs of versions that did not write them in a file."""
    shift, bias = tensors.get("shift"), tensors.get("classifier.bias")
    dims = [len(value) if value is not None and value.ndim == 1 else 1 for value in (shift, bias)]
    return HeadCard(in_dim=max(1, dims[0]), outputs=max(1, dims[1]))


def tensors_of(name: str, output: BagOutput) -> dict[str, Tensor]:
    """Return what files keep of an output, named by its slide.

    Parameters
    ----------
    name
        Name before the slash: the slide, or arm and slide.
    output
        Logits and attention logits.
    """
    logits = {"logits": output.logits, "attention_logits": output.attention_logits}
    return {f"{name}/{kind}": torch.from_numpy(values) for kind, values in logits.items()}


def read_outputs(folder: Path) -> dict[str, dict[str, SlideOutput]]:
    """Read the outputs of a fold: arm -> slide id -> output on the test slides.

    Raises
    ------
    FormatError
        If they are damaged.
    OSError
        If they are absent.
    """
    probabilities = read_json_document(folder / "outputs/probabilities.json")
    tensors = load_tensors(folder / "outputs/outputs.safetensors")
    try:
        outputs = {
            arm: {
                slide_id: SlideOutput(
                    np.array(values, float),
                    tensors[f"{arm}/{slide_id}/logits"].numpy(),
                    tensors[f"{arm}/{slide_id}/attention_logits"].numpy(),
                )
                for slide_id, values in slides.items()
            }
            for arm, slides in probabilities.items()
        }
        for slides in outputs.values():
            for output in slides.values():
                require_finite("the outputs", *output)
    except (KeyError, TypeError, ValueError, AttributeError, ModelError) as error:
        raise FormatError(
            f"The outputs in {folder / 'outputs'} are damaged or incomplete: {error}. Delete that folder, then rerun "
            "the same command."
        ) from error
    return outputs


def read_history(folder: Path) -> list[dict[str, float]]:
    """Read the metrics of every epoch of a trained artefact.

    Raises
    ------
    FormatError
        If they are absent or damaged.
    """
    return read_document(
        folder / "history.json", TypeAdapter(list[dict[str, FiniteFloat]]), "the metrics of every epoch"
    )


def read_evidence(folder: Path) -> Evidence:
    """Read where the teacher's outputs of a fold come from; in folds of earlier versions from its training slides.

    Parameters
    ----------
    folder
        Folder of the fold.

    Raises
    ------
    FormatError
        If it is damaged.
    """
    path = folder / "evidence" / EVIDENCE
    if not os.path.lexists(path):
        return Evidence()
    return read_document(path, TypeAdapter(Evidence), "where the teacher's outputs come from")


def read_teacher_outputs(folder: Path) -> dict[str, TeacherOutput]:
    """Read the outputs of a fold's teacher: slide id -> output, for training and validation slides.

    Raises
    ------
    FormatError
        If they are damaged.
    """
    tensors = load_tensors(folder / "evidence/evidence.safetensors")
    names = sorted({name.rsplit("/", 1)[0] for name in tensors})
    try:
        return {
            name: TeacherOutput(tensors[f"{name}/logits"].numpy(), tensors[f"{name}/attention_logits"].numpy())
            for name in names
        }
    except KeyError as error:
        raise FormatError(
            f"The teacher's outputs in {folder / 'evidence'} are incomplete: {error} is missing. Delete that folder, "
            "then rerun the same command."
        ) from error
