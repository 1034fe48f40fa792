"""Read and write the settings of a training run as a TOML file, and read the value of one."""

import tomllib
from pathlib import Path

import tomli_w

from lrmil.configs import TrainConfig, from_dict, to_dict
from lrmil.errors import ConfigError, FormatError
from lrmil.io import atomic
from lrmil.io.ownership import SETTINGS_MARK, is_settings
from lrmil.io.untrusted import require_plain

MAX_TOML = 1 << 20  # bytes


def read_toml(path: Path) -> TrainConfig:
    """Read settings from a TOML file; those not given keep their defaults.

    Raises
    ------
    ConfigError
        If the file is absent, is not valid TOML, is too large, or holds an unknown setting.
    """
    try:
        size = require_plain(path)
        if size > MAX_TOML:
            raise ConfigError(f"Expected settings of at most {MAX_TOML >> 10} KiB in {path}. Got {size >> 10} KiB.")
        return from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except ConfigError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # UnicodeError, TOMLDecodeError, FormatError: ValueErrors
        reason = str(error) if isinstance(error, FormatError) else f"{path}: {str(error).rstrip('.')}."
        raise ConfigError(f"Cannot read the settings file. {reason}") from error


def write_toml(path: Path, config: TrainConfig) -> None:
    """Write every setting, including those at their defaults.

    Raises
    ------
    OverwriteError
        If there is a file at `path` that is not a settings file of lrmil.
    OutputError
        If the disk is full, or the folder is not writable.
    """
    atomic.write_text(path, f"{SETTINGS_MARK}\n{tomli_w.dumps(to_dict(config))}", is_settings)


def parse_value(text: str) -> object:
    """Parse the value of a setting that a person wrote.

    Parameters
    ----------
    text
        Such as ``0.5``, ``true``, ``[0, -1]``, ``"uniform"`` or ``uniform``.

    Returns
    -------
    object
        The TOML value; if it is not exactly one, the text without outer spaces.
    """
    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # TOMLDecodeError is a ValueError; so is the error for too many digits
        return text.strip()
    return found["value"] if found.keys() == {"value"} else text.strip()
