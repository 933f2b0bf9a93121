"""A step stands in the journal before anything of it is done: what a killed process bought can be read there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.clock import Clock, run_virtual
from pipeline.core import journal
from pipeline.core.effects import Charge, Effect
from pipeline.core.events import Event
from tests.pipeline.rig import Around, Pages, Phone, live


@dataclass
class Suspicious(Around):
    """Looks into the journal whenever it is told of something."""

    pages: Pages = field(default_factory=Pages)
    missing: list[str] = field(default_factory=list)

    def happened(self, event: Event, effects: Sequence[Effect]) -> None:
        step = [journal.event_line(event), *map(journal.effect_line, effects)]
        if self.pages.lines[-len(step) :] != step:
            self.missing.append(step[0])
        super().happened(event, effects)


def test_nobody_hears_of_a_purchase_that_is_not_in_the_journal() -> None:
    async def main() -> Suspicious:
        clock, pages = Clock(), Pages()
        around = Suspicious(Phone(clock), pages=pages)
        call = live(around, clock, pages)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call.run())
            await asyncio.sleep(1)
            call.answered()
            await asyncio.sleep(4)
            call.carrier_done("completed", 4)
        return around

    around = run_virtual(main())
    assert around.missing == []
    assert any(isinstance(effect, Charge) for _, made in around.steps for effect in made)
