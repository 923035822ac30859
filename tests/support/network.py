"""Code that denies the network in a process of its own; loopback stays open for kernels."""

from __future__ import annotations

DENY_NETWORK = """
import socket as _socket
def _denied(connect):
    def guarded(self, address):
        if self.family != _socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
            raise PermissionError(f"the network is denied in tests: {address}")
        return connect(self, address)
    return guarded
_socket.socket.connect = _denied(_socket.socket.connect)
_socket.socket.connect_ex = _denied(_socket.socket.connect_ex)
"""
