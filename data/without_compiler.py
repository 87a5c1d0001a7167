"""Import reasoning-gym on a machine without a C compiler: its one compiled dependency stands in as a placeholder.

pycosat has no wheel, and one family out of a hundred needs it (zebra_puzzles); reasoning_gym imports it on import.
Where pycosat is installed, it is used.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any, NoReturn

from data.errors import UserError


def import_reasoning_gym() -> Any:
    """Return the reasoning_gym module; takes seconds the first time."""
    if "pycosat" not in sys.modules and importlib.util.find_spec("pycosat") is None:
        placeholder = ModuleType("pycosat")
        placeholder.__dict__.update(itersolve=_refuse, solve=_refuse)
        sys.modules["pycosat"] = placeholder
    import reasoning_gym

    return reasoning_gym


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise UserError("zebra_puzzles needs pycosat: `pip install pycosat==0.6.6` (and a C compiler); or drop the family")
