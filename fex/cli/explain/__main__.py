"""`python -m fex.cli.explain`."""

import sys

from fex.cli.explain import main

if __name__ == "__main__":
    sys.exit(main())
