"""The collection's catalog, format 2: ``catalog.sqlite``, the source of truth.

``state`` has one row: the counters of the last commit and the collection's settings. ``records``
holds the live records; deleting or replacing one leaves a row in ``tombstones`` with the number of
the commit that did it, so that a reader which knows commit c learns what died since from
``commit_no > c``; a record whose metadata was replaced in place carries that commit's number in
``changed``. ``vector_files`` and ``vector_blocks`` are the commit record of the vector files. The
virtual table ``words`` (`m2m_rag.storage.words`) is the full-text index of ``records.text``.

Format 2 added ``words``, ``state.tokenizer``, ``state.next_expiry_us``, ``records.expires_us`` and
``records.changed``.
"""

from __future__ import annotations

from m2m_rag.storage.sqlite import DatabaseKind

CATALOG_FILE = "catalog.sqlite"

KIND = DatabaseKind(
    application_id=0x4D324D43,  # "M2MC"
    version=2,
    schema="""
CREATE TABLE state(
    one INTEGER PRIMARY KEY CHECK (one = 1),
    collection BLOB NOT NULL,       -- 16 random bytes, also in every vector file's header
    metric TEXT NOT NULL,
    generation INTEGER NOT NULL,    -- part of the vector files' names
    dimension INTEGER,              -- NULL until the first add
    embedder TEXT,                  -- fingerprint of the embedder that fills the collection
    commit_no INTEGER NOT NULL,
    n_rows INTEGER NOT NULL,        -- rows ever written, dead ones included
    n_live INTEGER NOT NULL,
    dropped INTEGER NOT NULL,       -- 1 once the collection is being removed
    tokenizer TEXT,                 -- of the full-text index; NULL when there is none
    next_expiry_us INTEGER          -- no record expires earlier; NULL when none does
) STRICT;
CREATE TABLE records(
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    text TEXT,
    text_hash INTEGER,              -- XXH3-64 of the text's UTF-8
    metadata TEXT NOT NULL,         -- JSON object
    alpha REAL NOT NULL,
    kappa REAL,
    expires_us INTEGER,             -- microseconds since 1970 from which on the record is gone
    changed INTEGER                 -- the commit that replaced the metadata in place
) STRICT;
CREATE INDEX records_by_expiry ON records(expires_us) WHERE expires_us IS NOT NULL;
CREATE INDEX records_by_change ON records(changed) WHERE changed IS NOT NULL;
CREATE INDEX records_by_text ON records(text_hash) WHERE text_hash IS NOT NULL;
CREATE TABLE tombstones(
    row INTEGER PRIMARY KEY,
    commit_no INTEGER NOT NULL
) STRICT;
CREATE INDEX tombstones_by_commit ON tombstones(commit_no);
CREATE TABLE vector_files(
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    first_row INTEGER NOT NULL,
    rows INTEGER NOT NULL
) STRICT;
CREATE TABLE vector_blocks(
    file INTEGER NOT NULL,
    block INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    checksum INTEGER NOT NULL,      -- XXH3-64 of the block's bytes
    PRIMARY KEY (file, block)
) STRICT, WITHOUT ROWID;
""",
)
