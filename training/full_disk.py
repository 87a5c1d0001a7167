"""Is a failure a full disk? Python's own writes raise the OSError for it; safetensors and torch have other kinds."""

import errno
import shutil
from pathlib import Path

_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_AS_GOOD_AS_FULL = 1 << 20  # bytes free; a failed write leaves less than its own size


def is_full_disk(error: BaseException, folder: Path) -> bool:
    """Whether `error`, raised while writing under `folder`, or what led to it, is for want of space.

    safetensors quotes the system's words; torch.save says nothing of the kind, so the disk itself is asked.
    """
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        chain.append(step)
        step = step.__cause__ or step.__context__
    if any(isinstance(each, OSError) and each.errno in _NUMBERS for each in chain):
        return True
    if any("No space left on device" in str(each) or "quota exceeded" in str(each) for each in chain):
        return True
    return type(error) is RuntimeError and shutil.disk_usage(folder).free < _AS_GOOD_AS_FULL
