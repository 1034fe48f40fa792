"""The command line: parse, call one function, return an exit code.

0: all is well; 1: something that was asked for failed, and a list says what; 2: wrong usage; 130: stopped by Ctrl+C,
SIGTERM, SIGHUP or `lrmil stop`.
"""

import io
import sys
from collections.abc import Sequence
from contextlib import suppress

from lrmil.cli.logs import start_logging
from lrmil.cli.parser import build_parser
from lrmil.cli.stop_signals import stopped_by_signals
from lrmil.collector import end_without_collection
from lrmil.errors import LrmilError, Stopped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments
        The arguments after the program's name; None for those of this process.

    Returns
    -------
    int
        0, 1 or 130, as in the docstring of this module.

    Raises
    ------
    SystemExit
        With 2 after wrong usage, with 0 after ``--help`` and ``--version``.
    """
    if arguments is None:
        end_without_collection()
    options = build_parser().parse_args(arguments)
    start_logging(verbose=options.verbose)
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may contain bytes that the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with stopped_by_signals():
            return int(options.run(options))
    except (Stopped, KeyboardInterrupt):
        with suppress(OSError):  # the terminal may be closed
            sys.stderr.write("Stopped. Finished work is kept; run the same command again to resume.\n")
        return 130
    except (LrmilError, OSError) as error:  # OSError: for example a full disk or a read-only folder
        sys.stderr.write(f"lrmil {options.command}: {error}\n")
        return 1
