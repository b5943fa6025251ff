"""Files of every format that is read: valid ones, spoiled in content or in their bytes.

A damaged file is refused, or read as what it held before. A changed one is refused, or read as what
another reader finds in it.
"""

# In the order in which their surfaces are listed.
from . import answers, tokens, data, models, store, book  # noqa: F401, I001
from .prepared import prepare

__all__ = ["prepare"]
