"""Ten times the data takes no more memory to bring in, the index, which comes after, left out."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

MOST = 1.1
"""Peak of resident memory, ten times the data against the data."""
ROWS, FILES = 5_000, 550
"""Ten passages a file: from 5,000 records on Numba is loaded, for the index (60 MiB)."""
ADD = """
import sys
import numpy as np
from m2m_rag import Database, _indexing

_indexing.PAUSE_S = _indexing.PATIENCE_S = 1e9
generator = np.random.default_rng(0)
with Database(sys.argv[1]) as database:
    collection = database.create("c")
    for first in range(0, int(sys.argv[2]), 1000):
        rows = range(first, first + 1000)
        collection.add(
            generator.standard_normal((1000, 384), dtype=np.float32),
            ids=[f"id {i}" for i in rows],
            texts=[f"text {i} of some words, {i % 1009} and {i % 97}" for i in rows],
            metadatas=[{"number": i, "year": 2000 + i % 25} for i in rows],
        )
    print(collection.count())
"""
INGEST = """
import sys
from m2m_rag import Database, _indexing
from m2m_rag.text import HashingEmbedder, ingest

_indexing.PAUSE_S = _indexing.PATIENCE_S = 1e9
with Database(sys.argv[1]) as database:
    collection = database.create("c")
    ingest(sys.argv[2], collection, HashingEmbedder())
    print(collection.count())
"""
PEAK = """
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def records_and_peak_mib(code, *arguments):
    """Run code in a process of its own; return how many records it stored, and its peak memory."""
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux tells a process's peak of memory")
    command = [sys.executable, "-c", code + PEAK, *map(str, arguments)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(said[0]), int(said[1]) / 1024


def test_adding(tmp_path):
    peaks = []
    for n in (ROWS, 10 * ROWS):
        n_records, peak = records_and_peak_mib(ADD, tmp_path / str(n), n)
        assert n_records == n
        peaks.append(peak)
        print(f"{n:,} x 384 rows added: at most {peak:.0f} MiB")
    assert peaks[1] < MOST * peaks[0]


def test_ingesting_files(tmp_path):
    generator = random.Random(0)
    words = [f"word{i}" for i in range(5000)]
    peaks = []
    for n in (FILES, 10 * FILES):
        folder = tmp_path / f"files{n}"
        folder.mkdir()
        for i in range(n):
            paragraphs = [" ".join(generator.choices(words, k=80)) for _ in range(10)]
            (folder / f"{i}.txt").write_text("\n\n".join(paragraphs))
        n_records, peak = records_and_peak_mib(INGEST, tmp_path / str(n), folder)
        assert n_records >= 10 * n
        peaks.append(peak)
        print(f"{n:,} files of {n_records:,} passages ingested: at most {peak:.0f} MiB")
    assert peaks[1] < MOST * peaks[0]
