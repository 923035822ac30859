"""F9: pools of worker processes, however they start, and a server that forks after it opened."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import process_work
import pytest
from fault_sizes import size

from m2m_rag import Database

N_WORKERS = 4
N_TASKS = size(40, 400)
HANGS_S = 120
START_METHODS = [
    method
    for method in ("fork", "spawn", "forkserver")
    if method in multiprocessing.get_all_start_methods()
]

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.fixture
def collection(tmp_path):
    """A collection of a database that this process writes."""
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        collection.add(process_work.vectors(), ids=map(str, range(process_work.N)))
        yield collection


@contextmanager
def busy(collection):
    """Let a thread read and a thread write until the block ends."""
    is_over, errors = threading.Event(), []

    def repeat(work):
        try:
            while not is_over.wait(0.001):
                work()
        except BaseException as error:
            errors.append(error)

    def write():
        collection.upsert(-np.ones((20, 8)), ids=[f"w{i}" for i in range(20)])

    threads = [
        threading.Thread(target=repeat, args=(work,))
        for work in (write, lambda: collection.get(include_vectors=True))
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert errors == []


def check(answers):
    """Each task found its own record, in another process, and might not write."""
    assert [found for _, found, _ in answers] == [str(i % process_work.N) for i in range(N_TASKS)]
    assert os.getpid() not in {pid for pid, *_ in answers}
    for _, _, said in answers:
        assert f"being written by process {os.getpid()} on " in said


@pytest.mark.parametrize("method", START_METHODS)
def test_a_pool_of_multiprocessing(method, collection, fault_table):
    numbers = [i % process_work.N for i in range(N_TASKS)]
    context = multiprocessing.get_context(method)
    with busy(collection):
        pool = context.Pool(N_WORKERS, process_work.keep, (collection,))
        try:
            check(pool.map_async(process_work.ask_the_kept, numbers).get(HANGS_S))
            sent = [(collection, number) for number in numbers]
            check(pool.starmap_async(process_work.ask_the_sent, sent, 1).get(HANGS_S))
            pool.close()
        finally:
            pool.terminate()
            pool.join()
    assert collection.delete(["0"]) == 1
    fault_table.add("F9", f"tasks of a multiprocessing pool, {method}", 2 * N_TASKS, None, wrong=0)


@pytest.mark.parametrize("method", START_METHODS)
def test_a_process_pool_executor(method, collection, fault_table):
    numbers = [i % process_work.N for i in range(N_TASKS)]
    context = multiprocessing.get_context(method)
    with (
        busy(collection),
        ProcessPoolExecutor(N_WORKERS, context, process_work.keep, (collection,)) as pool,
    ):
        check(list(pool.map(process_work.ask_the_kept, numbers, timeout=HANGS_S)))
        sent = [collection] * N_TASKS
        check(list(pool.map(process_work.ask_the_sent, sent, numbers, timeout=HANGS_S)))
    assert collection.delete(["0"]) == 1
    fault_table.add("F9", f"tasks of a ProcessPoolExecutor, {method}", 2 * N_TASKS, None, wrong=0)


def kill(pid):
    """Kill a worker and wait until the server has taken note."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + HANGS_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.005)
    raise TimeoutError(f"process {pid} does not end")


class Client:
    """A connection to one worker of the server."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=HANGS_S)
        self._lines = self._socket.makefile("rw")

    def ask(self, number):
        self._lines.write(f"{number}\n")
        self._lines.flush()
        pid, found, said = json.loads(self._lines.readline())
        assert found == str(number)
        return pid, said

    def close(self):
        self._lines.close()
        self._socket.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_server_that_forks_its_workers_after_opening(collection, tmp_path, fault_table):
    """One worker may write; when it is killed, the next to try may, its replacement too."""
    collection.database.close()
    script = Path(__file__).parents[1] / "support" / "prefork_server.py"
    command = [sys.executable, str(script), str(tmp_path / "db"), str(N_WORKERS)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    clients = []
    n_asked = 0
    try:
        port = int(server.stdout.readline())
        for _ in range(size(3, 30)):
            clients += [Client(port) for _ in range(N_WORKERS - len(clients))]
            answers = [client.ask(number) for number in range(10) for client in clients]
            n_asked += len(answers)
            pids = {pid for pid, _ in answers}
            assert len(pids) == N_WORKERS
            (writer,) = {pid for pid, said in answers if said == "wrote"}
            for pid, said in answers:
                assert pid == writer or f"being written by process {writer} on " in said
            kill(writer)
            for client, (pid, _) in zip(list(clients), answers, strict=False):
                if pid == writer:
                    client.close()
                    clients.remove(client)
    finally:
        for client in clients:
            client.close()
        server.stdin.close()
        server.stdout.close()
        assert server.wait(HANGS_S) == 0
    fault_table.add("F9", "asked of a preforked server's workers", n_asked, None, wrong=0, hung=0)
