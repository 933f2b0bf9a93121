"""The table of all REST routes, in the order in which they are described."""

from __future__ import annotations

from server.routes import auth, calls, events, me, money, ops, personas, scenarios, scheduled
from server.routing import AnyOp

OPS: tuple[AnyOp, ...] = (
    *auth.OPS,
    *me.OPS,
    *personas.OPS,
    *scenarios.OPS,
    *calls.OPS,
    *scheduled.OPS,
    *events.OPS,
    *money.OPS,
    *ops.OPS,
)
