"""`python -m lrmil`."""

import sys

from lrmil.cli import main

sys.exit(main())
