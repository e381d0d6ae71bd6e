"""`python -m fex.cli.bench`."""

import sys

from fex.cli.bench import main

if __name__ == "__main__":
    sys.exit(main())
