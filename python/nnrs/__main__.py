"""`python -m nnrs …` is the command `nnrs …`."""

import sys

from nnrs.cli import main

if __name__ == "__main__":
    sys.exit(main())
