"""`python -m fex.cli.train`."""

import sys

from fex.cli.memory import keep_memory
from fex.cli.train import main

if __name__ == "__main__":
    keep_memory()
    sys.exit(main())
