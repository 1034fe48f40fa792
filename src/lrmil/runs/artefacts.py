"""Artefacts of a run, stored with the hash of their inputs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from lrmil.errors import FormatError
from lrmil.io import atomic, hashing
from lrmil.io.documents import read_json_document
from lrmil.io.ownership import is_artefact

T = TypeVar("T")


def is_committed(folder: Path, inputs: object) -> bool:
    """Return whether an artefact exists and was made from these inputs.

    Parameters
    ----------
    folder
        Folder of the artefact, which may be absent.
    inputs
        Everything that it is made from, JSON-ready.
    """
    try:
        return key_of(folder) == hashing.sha256_of(inputs)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def changed_inputs(folder: Path, inputs: Mapping[str, object]) -> list[str]:
    """Return the names of inputs that changed since the artefact was written; empty if there is no artefact.

    Parameters
    ----------
    folder
        Folder of the artefact, which may be absent.
    inputs
        Name -> current input, JSON-ready.
    """
    try:
        before = read_json_document(folder / "artefact.json")["inputs"]
        names = dict.fromkeys([*inputs, *before])  # an input may be stated in one of them alone
        return [name for name in names if hashing.sha256_of(before.get(name)) != hashing.sha256_of(inputs.get(name))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


@contextmanager
def committing(folder: Path, inputs: object) -> Iterator[Path]:
    """Yield a temporary folder that becomes the artefact when the block ends without an error.

    Parameters
    ----------
    folder
        Folder of the artefact, replaced if it is one.
    inputs
        Everything that it is made from, JSON-ready.

    Raises
    ------
    OverwriteError
        If something else has the name `folder`.
    OutputError
        If it cannot be written.
    """
    with atomic.replacing(folder, is_artefact) as temporary:
        temporary.mkdir()
        yield temporary
        content = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*"))
        document = {
            "key": hashing.sha256_of(inputs),
            "inputs": inputs,
            "content": content,
            "sha256": {name: hashing.sha256_file(temporary / name) for name in content if (temporary / name).is_file()},
        }
        atomic.write_json(temporary / "artefact.json", document)


def key_of(folder: Path) -> str:
    """Return the key of an artefact, as an input of later artefacts.

    Raises
    ------
    FormatError
        If it is damaged.
    OSError
        If it is absent.
    """
    document = read_json_document(folder / "artefact.json")
    key = document.get("key") if isinstance(document, dict) else None
    if not isinstance(key, str):
        raise FormatError(
            f"The key of the artefact {folder} is missing. Delete that folder, then rerun the same command."
        )
    return key


def read_document(path: Path, kind: TypeAdapter[T], what: str) -> T:
    """Read a document of an artefact.

    Parameters
    ----------
    path
        The document, in the folder of the artefact.
    kind
        What it holds.
    what
        The same in words, for a message.

    Raises
    ------
    FormatError
        If it is absent or damaged.
    """
    try:
        return kind.validate_python(read_json_document(path))
    except (OSError, ValueError) as error:  # errors of format and of pydantic are ValueErrors
        raise FormatError(damaged(path, what)) from error


def damaged(path: Path, what: str) -> str:
    """Say that a document of an artefact does not state what it should, and what to do."""
    return (
        f"{path} does not state {what}. Delete the folder '{path.parent.name}' that contains it, then rerun the same "
        "command."
    )
