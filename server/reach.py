"""Whether the carrier's own geographic permissions are those of `OPERATOR_COUNTRY`: said in the log, at the start.

Decides nothing. A country the carrier leaves out cannot be rung, whatever is set here; one it has beyond these is a
door that toll fraud finds when credentials are stolen.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog

from pipeline.carriers.base import Reach
from pipeline.core.errors import CarrierError

log = structlog.get_logger(__name__)

NAMED = 20
"""Countries named of those that are too many."""


async def compare(reach: Reach, meant: Collection[str]) -> None:
    """`meant`: ISO 3166-1 alpha-2."""
    try:
        allowed = await reach.countries()
    except CarrierError as error:
        log.warning("carrier_countries_unknown", carrier_code=error.code)
        return
    if refused := sorted(set(meant) - allowed):
        log.warning(
            "carrier_refuses_countries", countries=refused, hint="allow them in its geographic permissions"
        )
    if beyond := sorted(allowed - set(meant)):
        hint = "switch off what you do not need in its geographic permissions"
        log.warning("carrier_rings_more_countries", number=len(beyond), countries=beyond[:NAMED], hint=hint)
