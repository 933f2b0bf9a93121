"""What a drain waits for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from pipeline.clock import run_virtual
from pipeline.core.terms import EndReason
from server.drain import Conducted, Drain


@dataclass
class Talk:
    """A call, as far as a drain asks anything of it."""

    asked: list[EndReason] = field(default_factory=list)

    @property
    def live(self) -> Talk:
        return self

    def ask_hang_up(self, reason: EndReason) -> None:
        self.asked.append(reason)


def test_whoever_hurries_waits_for_no_decision_but_what_comes_of_it_says_goodbye_too() -> None:
    async def main() -> None:
        here, late = Talk(), Talk()
        ongoing: dict[str, Conducted] = {"here": here}
        drain = Drain(ongoing)
        async with asyncio.TaskGroup() as tasks:
            with drain.deciding():
                draining = tasks.create_task(drain.run(600))
                await asyncio.sleep(1)
                assert here.asked == []
                drain.hurry()
                await asyncio.sleep(1)
                assert here.asked == [EndReason.DRAINED]
                del ongoing["here"]
                drain.ended()
                await asyncio.sleep(1)
                assert not draining.done()
                ongoing["late"] = late
            await asyncio.sleep(1)
            assert late.asked == [EndReason.DRAINED]
            del ongoing["late"]
            drain.ended()
        assert here.asked == [EndReason.DRAINED]

    run_virtual(main())
