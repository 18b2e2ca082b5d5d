"""How the C library hands memory back, which training feels: a step frees and asks for the same large maps again."""

from __future__ import annotations

import ctypes
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**30


@cache
def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB of freed memory for what it asks for next. Once is enough.

    By default glibc gives each large block back to the system as soon as it is freed, and the system clears every page
    of the next one anew: an eighth of a training step of a ResNet-20 on two cores, and the reason why steps differ in
    length.

    Returns:
        False where the C library is another one or refuses.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))
