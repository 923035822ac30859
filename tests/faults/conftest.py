"""Fixtures of the fault programme."""

from __future__ import annotations

import pytest
from zygote import Zygote


@pytest.fixture(scope="session")
def zygote():
    """A process that forks children in which faults happen."""
    with Zygote() as zygote:
        yield zygote
