"""A thread whose end is known, whatever it dies of."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from m2m_rag import _background
from m2m_rag._background import Background


def test_it_is_waited_for():
    go, done = threading.Event(), []

    def work():
        done.append(thread.is_current())
        go.wait()
        done.append(None)

    thread = Background(work)
    thread.join(0.02)
    assert thread.is_alive()
    assert not thread.is_current()
    go.set()
    thread.join()
    assert (thread.is_alive(), done) == (False, [True, None])


def test_one_that_dies_before_it_begins_has_ended(monkeypatch):
    """As of too little memory; `threading.Thread.start` would wait for ever."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: told.append(error.exc_type))
    monkeypatch.setattr(_background, "_run", lambda *_: [].pop())
    thread = Background(time.sleep)
    thread.join(10)
    assert not thread.is_alive()
    assert told == [IndexError]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_none():
    go = threading.Event()
    thread = Background(go.wait)
    pid = os.fork()
    if pid == 0:
        thread.join()
        os._exit(1 if thread.is_alive() else 0)
    assert os.waitpid(pid, 0)[1] == 0
    assert thread.is_alive()
    go.set()
    thread.join()
