"""The table of all REST routes, in the order in which they are described."""

from __future__ import annotations

from server.routes import (
    admin_personas,
    auth,
    browser,
    calls,
    events,
    me,
    memories,
    money,
    ops,
    payments,
    personas,
    scenarios,
    simulation,
)
from server.routing import AnyOp

OPS: tuple[AnyOp, ...] = (
    *auth.OPS,
    *me.OPS,
    *personas.OPS,
    *memories.OPS,
    *scenarios.OPS,
    *calls.OPS,
    *events.OPS,
    *browser.OPS,
    *money.OPS,
    *payments.OPS,
    *simulation.OPS,
    *admin_personas.OPS,
    *ops.OPS,
)
