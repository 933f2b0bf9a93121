"""The time zones of this machine and their data: the system's where it has any, as `zoneinfo` looks there first."""

from __future__ import annotations

import zoneinfo
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def zone_names() -> frozenset[str]:
    """Every zone there is by name. Read once: each time, hundreds of files are opened."""
    return frozenset(zoneinfo.available_timezones())


@cache
def tzdata_version() -> str:
    """Such as `2026a`; empty where the data does not say."""
    for folder in map(Path, zoneinfo.TZPATH):
        if not (folder / "UTC").is_file():
            continue
        try:
            with (folder / "tzdata.zi").open(encoding="ascii", errors="replace") as data:
                first = data.readline()
        except OSError:
            return ""
        return first.removeprefix("# version ").strip()
    try:
        return version("tzdata")
    except PackageNotFoundError:
        return ""
