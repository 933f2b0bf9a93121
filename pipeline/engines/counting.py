"""How engines without a vendor's count count tokens: a simple rule, the same everywhere.

A text is a token for every four bytes of UTF-8, rounded up; a message is that plus four
for its wrapping. Hosted models report their own count; the rule stands in where a reply was left before it came.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.core.effects import Message

BYTES_A_TOKEN = 4
TOKENS_A_MESSAGE = 4


def text_tokens(text: str) -> int:
    """Tokens of a text, 0 for none."""
    return -(-len(text.encode()) // BYTES_A_TOKEN)


def prompt_tokens(messages: Iterable[Message]) -> int:
    """Tokens of a whole request."""
    return sum(TOKENS_A_MESSAGE + text_tokens(message.content) for message in messages)
