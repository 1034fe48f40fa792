"""Read what a trained fold holds: its MILs, the teacher's evidence, outputs on test slides, metrics of every epoch."""

from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from lrmil.configs import MILConfig
from lrmil.errors import FormatError, ModelError
from lrmil.io.documents import read_json_document
from lrmil.io.tensors import load_tensors
from lrmil.models.finite import require_finite
from lrmil.models.heads.abmil import ABMIL, BagOutput, make_mil
from lrmil.runs.artefacts import load_into
from lrmil.training.bags import Evidence


def load_mil(folder: Path, n_classes: int, config: MILConfig) -> ABMIL:
    """Load a fold's MIL."""
    path = folder / "mil.safetensors"
    tensors = load_tensors(path)
    shift = tensors.get("shift")
    mil = make_mil(shift.shape[0] if shift is not None and shift.ndim == 1 else 1, n_classes, config)
    return load_into(mil, tensors, path).eval()


def read_outputs(folder: Path) -> dict[str, dict[str, BagOutput]]:
    """Arm -> slide id -> output on the fold's test slides.

    Raises
    ------
    FormatError
        If they are damaged.
    OSError
        If they are not there.
    """
    probabilities = read_json_document(folder / "outputs/probabilities.json")
    tensors = load_tensors(folder / "outputs/outputs.safetensors")
    try:
        outputs = {
            arm: {
                slide_id: BagOutput(
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
            f"Expected outputs of every arm in {folder / 'outputs'}. Got: {error}; delete that folder, then run the "
            "same lrmil train command again."
        ) from error
    return outputs


def read_history(folder: Path) -> list[dict[str, float]]:
    """Metrics of every epoch of a trained artefact.

    Raises
    ------
    FormatError
        If they are damaged.
    OSError
        If they are not there.
    """
    try:
        return TypeAdapter(list[dict[str, float]]).validate_python(read_json_document(folder / "history.json"))
    except ValidationError as error:
        raise FormatError(f"Expected figures of every epoch in {folder / 'history.json'}. Got other values.") from error


def read_evidence(folder: Path) -> dict[str, Evidence]:
    """Slide id -> what the fold's teacher says of its training and validation slides."""
    tensors = load_tensors(folder / "evidence/evidence.safetensors")
    names = sorted({name.rsplit("/", 1)[0] for name in tensors})
    try:
        return {
            name: Evidence(tensors[f"{name}/logits"].numpy(), tensors[f"{name}/attention_logits"].numpy())
            for name in names
        }
    except KeyError as error:
        raise FormatError(
            f"Expected the teacher's evidence in {folder / 'evidence'}. Got none for {error}; delete that folder, then "
            "run the same again."
        ) from error
