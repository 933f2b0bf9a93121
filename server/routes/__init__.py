"""The table of all REST routes, in the order in which they are described."""

from __future__ import annotations

from server.routes import (
    admin,
    admin_inbound,
    admin_personas,
    auth,
    browser,
    calls,
    events,
    export,
    me,
    memories,
    money,
    ops,
    password,
    payments,
    personas,
    phone,
    pin,
    replays,
    scenarios,
    scheduled,
    simulation,
    transcripts,
)
from server.routing import AnyOp

OPS: tuple[AnyOp, ...] = (
    *auth.OPS,
    *me.OPS,
    *phone.OPS,
    *pin.OPS,
    *password.OPS,
    *export.OPS,
    *personas.OPS,
    *memories.OPS,
    *scenarios.OPS,
    *calls.OPS,
    *replays.OPS,
    *scheduled.OPS,
    *events.OPS,
    *transcripts.OPS,
    *browser.OPS,
    *money.OPS,
    *payments.OPS,
    *simulation.OPS,
    *admin_personas.OPS,
    *admin_inbound.OPS,
    *admin.OPS,
    *ops.OPS,
)
