"""How rows are named: 128 random bits in hex. Nothing can be guessed or counted from an id."""

from __future__ import annotations

import secrets


def new_id() -> str:
    return secrets.token_hex(16)
