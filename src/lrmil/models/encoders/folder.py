"""The folder of an encoder: how it is named in settings, and which files it has; without torch, for viewers."""

from pathlib import Path

from lrmil.errors import EncoderError

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in timm's order
FOLDER, HUB = "local-dir", ("hf-hub", "hf_hub")  # before the colon of a name


def folder_in(name: str) -> Path | None:
    """Return the folder that the name of an encoder states; None for other names.

    Parameters
    ----------
    name
        ``local-dir:folder``, the path of an existing folder, or another name. A name without a slash is never a folder:
        it may be a model of timm.
    """
    kind, colon, place = name.partition(":")
    if colon and kind.lower() == FOLDER and place:
        return Path(place).expanduser()
    path = Path(name).expanduser()
    return path if path.name != name and path.is_dir() else None


def require_encoder_files(folder: Path) -> None:
    """Require that a folder has what timm loads.

    Raises
    ------
    EncoderError
        With the whole path of the folder, and what is missing.
    """
    if not folder.is_dir():
        raise EncoderError(f"There is no folder {folder}. Check its path, and that its disk is mounted.")
    lacks_weights = not any((folder / name).is_file() for name in WEIGHTS)
    missing = [CONFIG] * (not (folder / CONFIG).is_file()) + [f"{WEIGHTS[0]} or {WEIGHTS[1]}"] * lacks_weights
    if missing:
        raise EncoderError(
            f"Expected {CONFIG} and {WEIGHTS[0]} in the folder of an encoder, as timm's save_for_hf writes them. "
            f"Got no {' and no '.join(missing)} in {folder}."
        )
