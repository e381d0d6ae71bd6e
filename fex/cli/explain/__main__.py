"""`python -m fex.cli.explain`."""

import sys

from fex.cli.explain import main
from fex.storage.memory import keep_memory

if __name__ == "__main__":
    keep_memory()
    sys.exit(main())
