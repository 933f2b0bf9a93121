"""The Alembic chain itself. Only imported where versions are missing: a server whose database is up to date starts
without the time that takes."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import migrations


def missing(connection: Connection) -> int:
    here = MigrationContext.configure(connection).get_current_revision()
    return sum(1 for _ in scripts().iterate_revisions("head", here or "base"))


def upgrade(connection: Connection) -> int:
    """Applies what is missing; how many versions that was."""
    count = missing(connection)
    if count:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return count


def scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(next(iter(migrations.__path__)))).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
