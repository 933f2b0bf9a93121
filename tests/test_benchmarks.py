"""The measurements that build a world of their own: the world is sound, so that what is timed is the real thing."""

from __future__ import annotations

from pathlib import Path

from benchmarks import books


async def test_the_books_that_are_multiplied_for_the_audit_s_time_pass_it(tmp_path: Path) -> None:
    assert await books.audited(f"sqlite+aiosqlite:///{tmp_path / 'audit.db'}", copies=3) > 0
