"""Everything this project raises on purpose, grouped by what the catcher does about it.

CallMeBackError
├── Refused          the user may not: a stable code and a plain sentence, shown to them
├── TheirFault       a carrier or an engine misbehaved
│   ├── EngineError      one of the four engine seams
│   │   └── AllDown          every engine of the seam, with none left to fail over to
│   ├── CarrierError     the telephone side
│   └── BadStream        the media socket broke its protocol
└── JournalError     a journal that cannot be read back
"""

from __future__ import annotations

from collections.abc import Mapping


class CallMeBackError(Exception):
    """Root of the tree."""


class Refused(CallMeBackError):
    """The user may not do this now. `code` is one of the stable problem codes.

    `members` are further facts for a program, by the name a problem document gives them.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 422,
        retry_after: int | None = None,
        members: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status
        self.retry_after = retry_after
        self.members = members or {}


class TheirFault(CallMeBackError):
    """Another system failed; `retryable` says whether the same request may work later."""

    def __init__(self, detail: str, *, retryable: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retryable = retryable


class EngineError(TheirFault):
    """Speech to text, the model, text to speech or voice activity failed.

    `of_one`: for what this one request asked, as a voice there is not or words that are not answered; whoever asks for
    something else may be served.
    """

    def __init__(self, detail: str, *, retryable: bool = False, of_one: bool = False) -> None:
        super().__init__(detail, retryable=retryable)
        self.of_one = of_one

    @property
    def kind(self) -> str:
        """What the call is told of it: "retryable", "failed" or "all_down"."""
        return "retryable" if self.retryable else "failed"


class AllDown(EngineError):
    """Every engine of one seam is down: each was tried and failed, or is not to be tried yet."""

    def __init__(self, last: EngineError | None = None) -> None:
        super().__init__(f"every engine is down; the last: {last.detail}" if last else "every engine is down")
        self.last = last

    @property
    def kind(self) -> str:
        """Where one was tried, its failure: trying again may do. Where none may be, there is nothing to wait for."""
        return "all_down" if self.last is None else self.last.kind


class CarrierError(TheirFault):
    """The carrier refused or lost a request. `unsure` means it may have been carried out."""

    def __init__(self, detail: str, *, retryable: bool = False, unsure: bool = False, code: int = 0) -> None:
        super().__init__(detail, retryable=retryable)
        self.unsure = unsure
        self.code = code


class BadStream(TheirFault):
    """The media socket sent something that is not Media Streams."""


class JournalError(CallMeBackError):
    """A journal line is damaged or from another version."""
