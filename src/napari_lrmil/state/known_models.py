"""The models that answered here: their names and folders by hash, in models.json of the results folder."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic does not accept that of Python 3.11

from lrmil.io import atomic, hashing, untrusted
from lrmil.io.marks import has_format

FORMAT = "lrmil.models/1"
FILE = "models.json"
MODEL_FILE = "bundle.json"
MAX_FILE = 4 << 20  # bytes
SHOWN = 12  # digits of a hash that a person sees
NAME_LENGTH = 40  # characters of a name in that of a folder; paths are short on some systems


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that answered here.

    Attributes
    ----------
    name
        What a person knows it by.
    folder
        Where it was when it answered last; "" where that is not known.
    """

    name: str
    folder: str = ""


@with_config(ConfigDict(strict=True, extra="ignore"))
class _Known(TypedDict):
    name: str
    folder: str


@with_config(ConfigDict(strict=True, extra="ignore"))
class _Models(TypedDict):
    format: Literal["lrmil.models/1"]
    models: dict[str, _Known]


_MODELS = TypeAdapter(_Models)


def known_models(results: Path) -> dict[str, KnownModel]:
    """Return the models that answered into a results folder, by hash; none if their list is absent or damaged."""
    try:
        found = _MODELS.validate_python(untrusted.read_json(results / FILE, max_bytes=MAX_FILE, printable=False))
    except (OSError, ValueError):  # FormatError and pydantic's ValidationError are ValueErrors
        return {}  # the answers are still told apart, by their hashes
    return {sha256: KnownModel(one["name"], one["folder"]) for sha256, one in found["models"].items()}


def note_model(results: Path, sha256: str, folder: Path | None) -> None:
    """Record the name and the folder of a model that is about to answer.

    Parameters
    ----------
    results
        Folder of all results.
    sha256, folder
        The model; nothing is recorded without a folder.
    """
    known = known_models(results)
    if folder is None or known.get(sha256) == (model := KnownModel(name_of(folder), str(folder.absolute()))):
        return
    document = {"format": FORMAT, "models": {one: asdict(about) for one, about in {**known, sha256: model}.items()}}
    try:
        atomic.make_folder(results)
        atomic.write_json(results / FILE, document, _is_ours)
    except OSError:  # LrmilError of a file that cannot be written is one
        return  # a convenience: the hash names the model too


def title_of(sha256: str, known: dict[str, KnownModel]) -> str:
    """Return what to call a model: its name, with its hash where another model has that name, or its hash alone."""
    if sha256 not in known:
        return f"model {sha256[:SHOWN]}"
    name = known[sha256].name
    alike = sum(one.name == name for one in known.values()) > 1
    return f"{name} {sha256[:SHOWN]}" if alike else name


def find_model_folder(sha256: str, known: dict[str, KnownModel]) -> Path | None:
    """Return the folder of a model if the model is still in it."""
    about = known.get(sha256)
    if about is None or not about.folder:
        return None
    try:
        same = hashing.sha256_file(Path(about.folder) / MODEL_FILE) == sha256
    except OSError:
        return None
    return Path(about.folder) if same else None


def folder_name(sha256: str, known: dict[str, KnownModel]) -> str:
    """Return the name of a folder, or of the end of a file, for the answers of a model."""
    name = known[sha256].name if sha256 in known else "model"
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[-NAME_LENGTH:].lstrip(".-") or "model"
    return f"{plain}-{sha256[:SHOWN]}"


def name_of(folder: Path | None) -> str:
    """Return the name that a person knows a model by: every training calls its folder "model"."""
    if folder is None:
        return ""
    return f"{folder.parent.name}/{folder.name}" if folder.name == "model" and folder.parent.name else folder.name


def _is_ours(path: Path) -> bool:
    return has_format(path, "lrmil.models/")
