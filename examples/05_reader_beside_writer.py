"""Two processes on one database: a reader sees each commit at its next query; one process writes.

Needs: pip install m2m-rag
"""

import subprocess
import sys
from tempfile import TemporaryDirectory

from m2m_rag import Database
from m2m_rag.errors import WriterLockedError

READER = """
import sys
from m2m_rag import Database

with Database(sys.argv[1], read_only=True) as database:
    log = database.open("log")
    for line in sys.stdin:
        hits = log.search([1.0, 0.0], k=1)
        print(f"the reader sees {log.count()} records, the best is {hits[0].id}", flush=True)
"""


def main() -> None:
    """Run the example."""
    with TemporaryDirectory() as folder, Database(folder) as database:
        log = database.create("log", dimension=2, metric="l2")
        log.add([[5.0, 5.0]], ids=["far"])
        with subprocess.Popen(
            [sys.executable, "-c", READER, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as reader:
            for step, name in enumerate(("near", "nearer", "nearest")):
                log.add([[1.0, 2.0 - step]], ids=[name])
                print(f"wrote {name}: ", end="")
                reader.stdin.write("look\n")
                reader.stdin.flush()
                print(reader.stdout.readline(), end="")
            reader.stdin.close()
            reader.stdout.close()

        write = "import sys; from m2m_rag import Database; Database(sys.argv[1]).drop('log')"
        second = subprocess.run(
            [sys.executable, "-c", write, folder], capture_output=True, text=True
        )
        said = second.stderr.strip().splitlines()[-1]
        assert WriterLockedError.__name__ in said
        print("a second writer is told:", said.replace(folder, "DATABASE"))


if __name__ == "__main__":
    main()
