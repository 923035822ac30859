"""Where a node's parts lie in a record's metadata, so that no key of the user can clash.

A record's metadata holds the user's metadata at the top level, where filters see it, and three
reserved keys beside it. A user's key of such a name gets one more leading underscore when it is
stored and loses it when it is read, as do names that were escaped before; so every key can be
stored, filtered and returned.
"""

from __future__ import annotations

import re

ID_KEY = "_m2m_id"
"""The node's id, where filters can see it."""
DOC_KEY = "_m2m_doc"
"""The id of the node's source document; the node's own id when it has no source."""
NODE_KEY = "_m2m_node"
"""The node's class and its remaining fields."""

_RESERVED = re.compile(r"_+m2m_(?:id|doc|node)(?=\.|\Z)")


def escape(key: str) -> str:
    """Return the stored name, or filter path, of a user's metadata key."""
    return f"_{key}" if _RESERVED.match(key) else key


def unescape(key: str) -> str:
    """Return the user's metadata key of a stored name: the inverse of `escape`."""
    return key[1:] if _RESERVED.match(key) else key
