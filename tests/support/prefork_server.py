"""A server as gunicorn's with ``--preload``: it opens the database, uses it, and forks workers.

``prefork_server.py PATH N_WORKERS`` prints its port. A worker serves one connection at a time: for
each line, a number, the answer is a line of JSON, as `process_work.ask` gives it. A worker that
dies is replaced. The server ends, with all its workers, when its standard input is closed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading

from process_work import ask, vectors

from m2m_rag import Collection, Database


def serve(listening: socket.socket, collection: Collection) -> None:
    while True:
        connection, _ = listening.accept()
        with connection, connection.makefile("rw") as lines:
            for line in lines:
                lines.write(json.dumps(ask(collection, int(line))) + "\n")
                lines.flush()


def main(path: str, n_workers: int) -> None:
    database = Database(path)
    collection = database.open("c")
    collection.search(vectors(), 1)
    listening = socket.create_server(("127.0.0.1", 0))
    workers: set[int] = set()

    def start() -> None:
        pid = os.fork()
        if pid == 0:
            serve(listening, collection)
        workers.add(pid)

    def stop() -> None:
        sys.stdin.read()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    for _ in range(n_workers):
        start()
    threading.Thread(target=stop, daemon=True).start()
    print(listening.getsockname()[1], flush=True)
    while True:
        dead, _ = os.wait()
        workers.remove(dead)
        start()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
