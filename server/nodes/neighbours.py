"""How nodes reach each other where several share one process, as those of a simulation do.

Nodes that are processes of their own need nobody's help: PostgreSQL carries their words, the network their sound.
"""

from __future__ import annotations

from typing import Protocol

from server.nodes.bus import Bus
from server.nodes.relay import Socket


class Neighbours(Protocol):
    """One node's."""

    def bus(self, node: str) -> Bus:
        """The bus of this node, which goes by that name until it ends."""

    async def connect(self, origin: str, authorization: str) -> Socket:
        """As `server.nodes.relay.Connect`."""
