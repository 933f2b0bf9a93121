"""What is set up around a server that runs."""

from __future__ import annotations

import gc

from server.serving import NEW_OBJECTS, settled_collector


def test_the_collector_leaves_alone_what_was_there_and_is_itself_again_afterwards() -> None:
    frozen, before = gc.get_freeze_count(), gc.get_threshold()
    with settled_collector():
        assert gc.get_freeze_count() > frozen
        assert gc.get_threshold() == (NEW_OBJECTS, *before[1:])
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == frozen == 0
