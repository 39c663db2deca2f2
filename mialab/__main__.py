"""`python -m mialab` is the command `mialab`."""

import sys

from mialab.cli import main

sys.exit(main())
