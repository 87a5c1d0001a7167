"""Is a failure a full disk, or another failed write? Python's writes raise OSErrors for it; other libraries do not."""

import errno
import shutil
from pathlib import Path

_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_TORCH_WRITES = ("PytorchStreamWriter", "inline_container", "cannot be opened", "Parent directory")
"""What the RuntimeErrors of torch.save say."""
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
    return type(error) is RuntimeError and shutil.disk_usage(existing(folder)).free < _AS_GOOD_AS_FULL


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return folder if folder.exists() else existing(folder.parent)


def is_failed_write(error: BaseException, folder: Path) -> bool:
    """Whether `error`, raised while writing under `folder`, is the file system's: no space, no access, a lost disk."""
    if isinstance(error, OSError) or type(error).__name__ == "SafetensorError" or is_full_disk(error, folder):
        return True
    return type(error) is RuntimeError and any(words in str(error) for words in _TORCH_WRITES)
