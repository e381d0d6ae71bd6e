"""How the programs of YAML files end: with one line for what the user can mend."""

import os
import sys
from collections.abc import Callable
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException

from fex.cli.plain_errors import plain
from fex.cli.program import USER_ERRORS
from fex.storage.resources import look_beside

__all__ = ["told"]


def told(program: str, work: Callable[[], Any]) -> None:
    """Does `work`; what the user can mend ends the program with one line and code 2, an interrupt with 130.

    With FEX_TRACEBACK set, such an error is raised instead. Classes and functions of one's own are found in the working
    directory, as by `python`.
    """
    look_beside()
    try:
        work()
    except KeyboardInterrupt:
        print(f"{program}: interrupted; what was finished is kept.", file=sys.stderr)
        sys.exit(130)
    except (*USER_ERRORS, MisconfigurationException) as error:
        if os.environ.get("FEX_TRACEBACK"):
            raise
        print(f"{program}: error: {plain(str(error))}\n(FEX_TRACEBACK=1 shows where.)", file=sys.stderr)
        sys.exit(2)
