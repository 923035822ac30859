"""A Python process with a collection open, which evaluates what it is told."""

from __future__ import annotations

import subprocess
import sys
import textwrap


class Child:
    """A Python process that runs one command line at a time, as it is told."""

    def __init__(self, path) -> None:
        loop = """
            import sys
            from m2m_rag import Database
            database = Database(sys.argv[1])
            collection = database.open("c")
            for line in sys.stdin:
                try:
                    print(repr(eval(line)), flush=True)
                except Exception as error:
                    print(f"{type(error).__name__}: {error}", flush=True)
        """
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(loop), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, expression: str) -> str:
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()
