"""What a person agrees to, word for word. A changed text is a new version; old ones stay for the rows that name them.

The text is shown where a number is verified and where a call is scheduled: docs/who-may-be-rung.md has it too.
"""

from __future__ import annotations

from collections.abc import Mapping

VERSION = "1"
TEXTS: Mapping[str, str] = {
    "1": "By entering the code or scheduling a call I ask for automated calls with an artificial voice to this number, "
    'at the times I choose. I can stop them at any time: say "stop calling me", press 9, answer STOP by text '
    "message, or use the opt-out in my account.",
}
