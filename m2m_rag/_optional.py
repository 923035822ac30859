"""Import optional packages where they are used, and name the missing extra when they are absent."""

from __future__ import annotations

import importlib
from types import ModuleType

from m2m_rag.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, which the extra `extra` brings.

    Parameters
    ----------
    module
        Dotted import path, such as ``"pypdf"``.
    extra
        Name of the extra in ``pip install 'm2m-rag[extra]'``.

    Raises
    ------
    MissingExtraError
        The package (or one that it needs) is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise MissingExtraError(
            f"this needs the package {missing!r}, which is not installed. "
            f"Install it with: pip install 'm2m-rag[{extra}]'"
        ) from error
