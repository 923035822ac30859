"""A write in the middle of another write of the same thread: a signal handler's, or a finalizer's.

Both run between any two steps of the thread that they interrupt. Their write cannot wait for the
other's end, nor may it go in between. It is told from a write that comes after one that an
interrupt has cut off by what stands on the thread's stack.
"""

from __future__ import annotations

import inspect
import sys
from types import FrameType


def user_frame() -> FrameType | None:
    """Return the frame whose ``with`` statement the calling context manager serves.

    Between the two stand only other context managers made of generators.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_passing_on(frame):
        frame = frame.f_back
    return frame


def is_on_stack(wanted: FrameType | None) -> bool:
    """Tell whether the calling thread is within a frame."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame is not wanted:
        frame = frame.f_back
    return frame is not None


def _is_passing_on(frame: FrameType) -> bool:
    is_generator = frame.f_code.co_flags & inspect.CO_GENERATOR
    return bool(is_generator) or frame.f_globals.get("__name__") == "contextlib"
