"""The table of all REST routes, in the order in which they are described."""

from __future__ import annotations

from server.routes import (
    auth,
    browser,
    calls,
    events,
    me,
    money,
    ops,
    payments,
    personas,
    scenarios,
    scheduled,
    simulation,
)
from server.routing import AnyOp

OPS: tuple[AnyOp, ...] = (
    *auth.OPS,
    *me.OPS,
    *personas.OPS,
    *scenarios.OPS,
    *calls.OPS,
    *scheduled.OPS,
    *events.OPS,
    *browser.OPS,
    *money.OPS,
    *payments.OPS,
    *simulation.OPS,
    *ops.OPS,
)
