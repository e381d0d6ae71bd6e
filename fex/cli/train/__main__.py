"""`python -m fex.cli.train`."""

import sys

from fex.cli.train import main
from fex.storage.memory import keep_memory

if __name__ == "__main__":
    keep_memory()
    sys.exit(main())
