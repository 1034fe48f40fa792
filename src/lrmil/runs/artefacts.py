"""Artefacts of a run that carry the hash of the inputs they were made from."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from lrmil.errors import FormatError
from lrmil.io import atomic, hashing
from lrmil.io.documents import read_json_document
from lrmil.io.ownership import is_artefact

Module = TypeVar("Module", bound=nn.Module)


def is_committed(folder: Path, inputs: object) -> bool:
    """Tell whether an artefact is there and was made from just these inputs."""
    try:
        return key_of(folder) == hashing.sha256_of(inputs)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def changed_inputs(folder: Path, inputs: Mapping[str, object]) -> list[str]:
    """Name the inputs that are others than those an artefact was made from; none where there is no artefact."""
    try:
        before = read_json_document(folder / "artefact.json")["inputs"]
        return [name for name in inputs if hashing.sha256_of(before.get(name)) != hashing.sha256_of(inputs[name])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


@contextmanager
def committing(folder: Path, inputs: object) -> Iterator[Path]:
    """Give a temporary folder that becomes the artefact `folder`, with its inputs, when the block ends well."""
    with atomic.replacing(folder, is_artefact) as temporary:
        temporary.mkdir()
        yield temporary
        content = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*"))
        document = {"key": hashing.sha256_of(inputs), "inputs": inputs, "content": content}
        atomic.write_json(temporary / "artefact.json", document)


def key_of(folder: Path) -> str:
    """Key of a committed artefact, for the inputs of what builds on it.

    Raises
    ------
    FormatError
        If it is damaged.
    OSError
        If it is not there.
    """
    document = read_json_document(folder / "artefact.json")
    key = document.get("key") if isinstance(document, dict) else None
    if not isinstance(key, str):
        raise FormatError(
            f"Expected the key of what lies in {folder}. Got none; delete that folder, then run it again."
        )
    return key


def load_into(module: Module, tensors: dict[str, Tensor], path: Path) -> Module:
    """Give a network the weights that were read from a file.

    Raises
    ------
    FormatError
        If they are of another network, as where the file was changed by hand.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        said = str(error).strip().splitlines()[-1].strip()
        raise FormatError(
            f"Expected weights that fit the network in {path}. Got: {said}; delete the folder '{path.parent.name}' in "
            "which it lies, then run the same again: only that is made anew."
        ) from error
    return module
