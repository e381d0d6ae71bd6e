"""`python -m fex.cli.train`."""

import sys

from fex.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
