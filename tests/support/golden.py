"""Golden databases: a small one of each format that was ever released, with what it must answer.

``python tests/support/golden.py`` writes that of the present format to
``tests/data/golden/format-<n>``, once, when the format is released; it is never made again.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from m2m_rag import Database
from m2m_rag.storage.lock import HOLDER_FILE, LOCK_FILE
from m2m_rag.storage.schema import KIND

FOLDER = Path(__file__).resolve().parents[1] / "data" / "golden"
N, D = 60, 5
FILTERS = [
    {"n": {"$gte": 40}},
    {"kind": "odd"},
    {"nested.deep": [1, None]},
    {"kind": {"$ne": "odd"}},
]
MOMENT = datetime(2024, 2, 29, 12, 30, 15, 250001, timezone(timedelta(hours=5, minutes=45)))
"""Long gone: what expires then is never seen."""


def vectors():
    """Small integers: the same bytes everywhere, in every version of numpy."""
    rows = np.arange(N * D).reshape(N, D)
    return ((rows * 7919) % 31 - 15).astype(np.float32)


def make(path: Path) -> None:
    """Write a database that uses what the format has."""
    with Database(path) as database:
        collection = database.create("notes", metric="l2")
        collection.bind_embedder("golden:1")
        for first in (0, 30):
            rows = range(first, first + 30)
            collection.add(
                vectors()[first : first + 30],
                ids=[f"id-{row}-é" for row in rows],
                texts=[f"text {row}: naïve 漢字 {row % 7}" if row % 4 else None for row in rows],
                metadatas=[
                    {"n": row, "kind": "odd" if row % 2 else "even", "nested": {"deep": [1, None]}}
                    for row in rows
                ],
                alphas=[1.0 + row / 4 for row in rows],
                kappas=[None if row % 3 else 2.5 for row in rows],
            )
        collection.delete([f"id-{row}-é" for row in (0, 11, 59)])
        collection.update(["id-5-é"], [{"changed": True}])
        collection.upsert(vectors()[:1] * 2, ids=["id-6-é"], texts=["replaced"])
        dated = database.create("dated", tokenizer="porter")
        dated.add(
            vectors()[:3],
            ids=["a", "b", "c"],
            texts=["generally running", "a general runs", "nothing"],
            metadatas=[{"day": date(2024, 2, 29)}, {"at": [MOMENT]}, {"at": MOMENT, "n": 1}],
            expires_at=[MOMENT, None, datetime(2999, 12, 31, 23, 59, 59, 999999, UTC)],
        )
        database.create("empty", dimension=3)
        database.create("gone")
        database.drop("gone")
    for name in (LOCK_FILE, HOLDER_FILE):
        (path / name).unlink()


def answers(database: Database) -> dict:
    """What the database answers, as JSON."""
    collection = database.open("notes")
    records = [
        [r.id, r.text, r.metadata, r.alpha, r.kappa, r.vector.tolist()]
        for r in collection.get(include_vectors=True)
    ]
    queries = vectors()[[3, 30, 57]] + np.float32(0.25)
    return {
        "names": database.list(),
        "metric": collection.metric,
        "embedder": collection.embedder,
        "empty": [database.open("empty").count(), database.open("empty").dimension],
        "records": records,
        "hits": [[[hit.id, hit.score] for hit in hits] for hits in collection.search(queries, 6)],
        "filtered": [collection.ids(where) for where in FILTERS],
        "kinds": collection.distinct("kind"),
        "words": [hit.id for hit in collection.search(text="NAIVE 3", k=9)],
        **_dated(database),
    }


def _dated(database: Database) -> dict:
    """Return what formats from 2 on hold; JSON has no dates."""
    if "dated" not in database.list():
        return {}
    collection = database.open("dated")
    records = [[r.id, repr(r.metadata), str(r.expires_at)] for r in collection]
    hits = [[hit.id, hit.score] for hit in collection.search(text="run")]
    return {"dated": records, "stems": hits}


def main() -> None:
    folder = FOLDER / f"format-{KIND.version}"
    folder.mkdir(parents=True)
    make(folder / "database")
    with Database(folder / "database", read_only=True) as database:
        text = json.dumps(answers(database), ensure_ascii=False, indent=1)
    (folder / "answers.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
