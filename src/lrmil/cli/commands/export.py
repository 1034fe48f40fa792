"""`lrmil export`: convert features for other tools."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lrmil.cli.arguments import Commands, command

if TYPE_CHECKING:
    from lrmil.slides.inputs import Inputs

SUMMARY = "convert features for other tools"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil export`."""
    parser = command(commands, "export", SUMMARY, "lrmil export features --to trident --out h5", run)
    parser.add_argument(
        "features", type=Path, metavar="FEATURES", help="folder of features, as written by `lrmil extract`"
    )
    parser.add_argument("--to", required=True, choices=["trident"], help="format to write")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")


def run(options: argparse.Namespace) -> int:
    """Convert the features of each slide."""
    from lrmil.cli.printing import exit_code
    from lrmil.errors import ConfigError
    from lrmil.features.kinds import require_one_kind
    from lrmil.slides.inputs import Inputs

    paths = sorted(path for path in options.features.glob("*.zarr") if not path.name.endswith(".ome.zarr"))
    if not paths:
        raise ConfigError(
            f"There are no features (*.zarr) in {options.features}. Choose a folder that `lrmil extract` wrote."
        )
    require_one_kind(options.features)
    read = Inputs(others=paths)
    read.require_clear([options.out])
    done = [exported(path, options.out, read, say=True) for path in paths]
    return exit_code(done.count(False), len(done))


def exported(features: Path, out: Path, read: "Inputs", *, say: bool = False) -> bool:
    """Write the features of one slide as h5.

    Parameters
    ----------
    features
        Features of the slide (.zarr).
    out
        Folder to write to.
    read
        Inputs of the command, which are never replaced.
    say
        Print the path of the new file.

    Returns
    -------
    bool
        False if a file in the way must not be replaced; the reason is printed.
    """
    from lrmil.cli.printing import stdout
    from lrmil.errors import OverwriteError
    from lrmil.features import trident

    path = out / f"{features.stem}.h5"
    try:
        read.require_clear([path])
        trident.write_trident(path, features)
    except OverwriteError as error:
        stdout.print(f"{path}: {error}", markup=False)
        return False
    if say:
        stdout.print(str(path), markup=False)
    return True
