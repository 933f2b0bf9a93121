"""How tests are dealt out to the processes that run them (pytest-xdist, `--dist loadfile`).

Tests that wait, for servers of their own, for pages, for a call in real time, use little of a processor. So every
other process begins with those and the rest begin with the tests that work; whoever is done helps the others. That
is why there may be twice as many processes as cores. A file's tests stay together, for they share what they set
up, but for those that share nothing and take long.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

ONE_BROWSER = "tests/browser/"
WAIT = (ONE_BROWSER, "tests/whole/")
ALONE = ("tests/whole/", "tests/simulation/")


class Dealing(LoadFileScheduling):
    """Largest units first, so that the small ones fill up the end."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ONE_BROWSER):
            return ONE_BROWSER
        if nodeid.startswith(ALONE):
            return nodeid
        return super()._split_scope(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        begins_with_those_that_wait = self.nodes.index(node) % 2 == 0
        for unit in self.workqueue:
            if unit.startswith(WAIT) == begins_with_those_that_wait:
                self.workqueue.move_to_end(unit, last=False)
                break
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Dealing | None:
    return Dealing(config, log) if config.getoption("dist") == "loadfile" else None
