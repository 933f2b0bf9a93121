"""A world of schedules a test."""

from __future__ import annotations

import pytest

from storage.db import Database
from tests.server.scheduling import World


@pytest.fixture
def world(two_nodes: tuple[Database, Database]) -> World:
    return World(two_nodes)
