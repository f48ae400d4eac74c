"""What a process holds in memory: data sets loaded ahead, and when glibc gives freed memory back to the system."""

import ctypes
import sys

from cnnviz.config import RunConfig
from cnnviz.data import Dataset

# glibc gives large blocks back to the system at once and faults them in again page by page: for conv5's maps, of 3 MB
# and more, that is thousands of page faults a step. Elsewhere the larger blocks that loading the data leaves behind are
# given back: left to itself, glibc keeps 180 MB of them. (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD), in bytes.
KEEP_MEMORY, GIVE_BACK = (2**30, 2**31 - 1), (2**24, 2**25)

datasets: dict[str, Dataset] = {}  # by name; filled in the fork server alone, inherited by the shards

LARGE = 5_000_000  # multiply-adds a picture from which one network's step feeds more than one core


def is_large(config: RunConfig) -> bool:
    return config.architecture.multiply_adds > LARGE


def malloc_for(config: RunConfig) -> tuple[int, int]:
    """The arguments of set_malloc in the process that trains this network."""
    return KEEP_MEMORY if is_large(config) else GIVE_BACK


def set_malloc(mmap_threshold: int, trim_threshold: int) -> None:
    """Set both thresholds, in bytes, for this process; without glibc nothing is changed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(-3, mmap_threshold)
        mallopt(-1, trim_threshold)
