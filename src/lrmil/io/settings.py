"""Settings of a training run as a TOML file."""

import tomllib
from pathlib import Path

import tomli_w

from lrmil.configs import TrainConfig, from_dict, to_dict
from lrmil.errors import ConfigError
from lrmil.io import atomic
from lrmil.io.ownership import SETTINGS_MARK, is_settings
from lrmil.io.untrusted import require_plain

MAX_TOML = 1 << 20  # bytes


def read_toml(path: Path) -> TrainConfig:
    """Read the configuration from a TOML file; settings left out keep their defaults.

    Raises
    ------
    ConfigError
        If the file is absent, is no TOML or holds an unknown setting.
    """
    try:
        size = require_plain(path)
        if size > MAX_TOML:
            raise ConfigError(f"Expected settings of at most {MAX_TOML >> 10} KiB in {path}. Got {size >> 10} KiB.")
        return from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except ConfigError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # UnicodeError, TOMLDecodeError, FormatError: ValueErrors
        raise ConfigError(f"Expected a readable TOML file of settings at {path}. Got: {error}") from error


def write_toml(path: Path, config: TrainConfig) -> None:
    """Write every setting, also those at their defaults.

    Raises
    ------
    OverwriteError
        If a file is there that this function did not write.
    """
    atomic.write_text(path, f"{SETTINGS_MARK}\n{tomli_w.dumps(to_dict(config))}", is_settings)
