"""Memory that glibc keeps for the next large tensor, instead of giving it back to the system after each."""

import ctypes
import os
import sys

__all__ = ["VARIABLE", "keep_memory"]

VARIABLE = "FEX_MALLOC"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_MOST = (2**30, 2**25)  # bytes; old versions take no larger threshold than the second
_OWN = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_memory() -> bool:
    """Raises the thresholds above which glibc maps memory anew for each tensor and unmaps it when that is freed.

    The system must clear every page that it maps, which costs a small network half of its time on a CPU. The process
    then keeps some hundred megabytes more. Nothing is done where `FEX_MALLOC=system` is set, the user has chosen
    settings or another allocator, or the C library is none of glibc; and nothing changes that a network answers.

    Returns:
        Whether it was done.
    """
    if os.environ.get(VARIABLE) == "system" or any(map(os.environ.get, _OWN)) or not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version.restype = ctypes.c_char_p
        libc.gnu_get_libc_version()
        return any(libc.mallopt(_MMAP_THRESHOLD, most) for most in _MOST) and bool(
            libc.mallopt(_TRIM_THRESHOLD, _MOST[0])
        )
    except (OSError, AttributeError):  # another C library
        return False
