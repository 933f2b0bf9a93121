"""What a text message to our number means. A word counts only as the whole of it: "stop by tomorrow" stops nothing."""

from __future__ import annotations

from dataclasses import dataclass

STOPS = frozenset({"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out"})
STARTS = frozenset({"start", "yes", "unstop"})
HELPS = frozenset({"help", "info"})

STOPPED = "You will get no more calls from us. To allow them again, verify your number in your account."
HOW_TO_START = "To get calls again, log in to your account and verify this number."
HELP = "This number makes automated calls people asked for. Answer STOP to end them."


@dataclass(frozen=True, slots=True)
class Answer:
    """`says` is texted back, "" for nothing."""

    stops: bool = False
    says: str = ""


def answer_to(body: str) -> Answer:
    word = " ".join(body.casefold().replace("-", " ").strip(" .!\n\r\t\"'").split())
    if word in STOPS:
        return Answer(stops=True, says=STOPPED)
    if word in STARTS:  # whoever has the phone in hand is not yet who has the account
        return Answer(says=HOW_TO_START)
    return Answer(says=HELP) if word in HELPS else Answer()
