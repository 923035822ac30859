"""A process that has imported the package and forks a child for each job, so a child costs 5 ms.

A job is a function's name (``module:function``) and its arguments. What the child prints comes to
the parent line by line; when the child has ended, however it did, the line ``ended STATUS`` comes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

_MODULES = ("fault_load", "numpy", "m2m_rag.database")


class Child:
    """A job that runs."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote
        self.pid = int(zygote.line().removeprefix("started "))
        self.status: int | None = None

    def line(self) -> str | None:
        """Return what the child says next, or None when it has ended; then `status` is set.

        The status is what `subprocess` calls returncode: negative for a signal.
        """
        if self.status is None:
            line = self._zygote.line()
            if not line.startswith("ended "):
                return line
            self.status = int(line.removeprefix("ended "))
        return None

    def lines(self) -> list[str]:
        """Wait for the end and return what was said until then."""
        return list(iter(self.line, None))

    def kill(self) -> None:
        """Kill it, if it has not ended by itself; it cannot say no."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Zygote:
    """Runs jobs, one after the other."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
            # Unbuffered, a line and its end are two writes, and a kill may fall in between.
            env={
                **os.environ,
                "M2M_BACKEND": "numpy",
                "PYTHONUNBUFFERED": "",
                **(environment or {}),
            },
        )
        assert self.line() == "ready"

    def start(self, function: str, *arguments: object) -> Child:
        """Start a job; the one before must have ended."""
        self._process.stdin.write(json.dumps([function, arguments]) + "\n")
        self._process.stdin.flush()
        return Child(self)

    def run(self, function: str, *arguments: object) -> list[str]:
        """Run a job to its end, which must be a good one, and return what it said."""
        child = self.start(function, *arguments)
        said = child.lines()
        assert child.status == 0, f"{function}{arguments} ended with {child.status}: {said[-5:]}"
        return said

    def line(self) -> str:
        """Return the next line of the zygote or its child."""
        line = self._process.stdout.readline()
        assert line, "the zygote has ended"
        return line.rstrip("\n")

    def close(self) -> None:
        """End the zygote."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _jobs() -> Iterator[tuple[str, list]]:
    for line in sys.stdin:
        function, arguments = json.loads(line)
        yield function, arguments


def _main() -> None:
    import importlib

    for name in _MODULES:
        importlib.import_module(name)
    from m2m_rag import Database

    with tempfile.TemporaryDirectory() as folder, Database(folder) as database:
        warm = database.create("warm", 2)  # loads what is imported where it is used
        warm.add([[1.0, 2.0]], texts=["warm"])
        warm.search([1.0, 2.0])
        warm.search(text="warm")
    print("ready", flush=True)
    for function, arguments in _jobs():
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                print(f"started {os.getpid()}", flush=True)
                module, _, name = function.partition(":")
                getattr(importlib.import_module(module), name)(*arguments)
                code = 0
            except BaseException as error:
                traceback.print_exc()
                print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
            finally:
                sys.stdout.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    _main()
