"""`python -m fex.cli.bench`."""

import sys

from fex.cli.bench import main
from fex.storage.memory import keep_memory

if __name__ == "__main__":
    keep_memory()
    sys.exit(main())
