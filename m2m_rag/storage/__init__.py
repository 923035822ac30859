"""Storage: the SQLite catalog, the append-only vector files, and the writer lock.

A database is a folder::

    LOCK, LOCK.holder              the writer's lock of the operating system, and who holds it
    database.sqlite                collection name → folder
    collections/<id>/
        catalog.sqlite             ids, texts, metadata, tombstones, commit records: the truth
        vectors/<generation>-<n>.f32   append-only float32 rows

A write goes: vector rows → fdatasync → SQLite commit (WAL, synchronous=FULL). What the catalog
does not name does not exist, so a write that was cut off leaves nothing behind but unused bytes.

Upkeep: `verifying` reads all of it, `repairing` decides what to do about what was found,
`leftovers` tells which files are in use, `compacting` moves the live rows to a new generation,
`backing_up` copies a database beside its writer, `migrating` brings older formats up to date,
`admitting` and `plain` decide what is opened at all.
"""
