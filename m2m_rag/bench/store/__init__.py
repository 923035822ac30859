"""Stores side by side: ours and other embedded databases, each in processes of its own.

`run.run_store` measures; `conditions` chooses the filters from the data, `judge` compares every
answer with brute force, `work` is what happens inside one process.
"""
