"""What opens closes: the context manager of everything that has a `close`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closing(ABC):
    """A thing that is closed at the end of its ``with`` block."""

    @abstractmethod
    def close(self) -> None:
        """Release what it holds. Closing twice is fine."""

    def __enter__(self) -> Self:
        """Return the object; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the object."""
        self.close()
