"""Membership inference attacks on classification models: the package behind the book."""

import lazy_loader

# Names are loaded when they are first used: `import mia_utils` stays quick and needs no torch. What
# they are stands in __init__.pyi, where editors and type checkers read it too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
