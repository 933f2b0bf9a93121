"""What is raised says what to do about it."""

from pipeline.core.errors import (
    AllDown,
    BadStream,
    CallMeBackError,
    CarrierError,
    EngineError,
    JournalError,
    Refused,
    TheirFault,
)


def test_a_refusal_has_a_stable_code_and_a_sentence() -> None:
    refused = Refused("rate_limited", "Try again later.", status=429, retry_after=9)
    assert str(refused) == "rate_limited: Try again later."
    assert (refused.code, refused.detail, refused.status, refused.retry_after) == (
        "rate_limited",
        "Try again later.",
        429,
        9,
    )
    assert Refused("not_found", "x").status == 422


def test_a_fault_of_theirs_says_whether_to_try_again() -> None:
    assert not EngineError("gone").retryable
    assert BadStream("odd", retryable=True).retryable
    carrier = CarrierError("timeout", retryable=True, unsure=True, code=20429)
    assert (carrier.detail, carrier.retryable, carrier.unsure, carrier.code) == ("timeout", True, True, 20429)
    assert not CarrierError("gone").unsure


def test_that_all_are_down_is_final_and_names_the_last_failure() -> None:
    assert str(AllDown()) == "every engine is down"
    down = AllDown(EngineError("busy", retryable=True))
    assert (down.detail, down.retryable) == ("every engine is down; the last: busy", False)
    assert isinstance(down, EngineError)


def test_what_the_call_is_told_of_a_failure() -> None:
    assert EngineError("no").kind == "failed"
    assert EngineError("later", retryable=True).kind == "retryable"
    assert AllDown().kind == "all_down", "no engine may be tried: there is nothing to wait for"
    assert AllDown(EngineError("later", retryable=True)).kind == "retryable", "one was tried"


def test_they_are_one_tree() -> None:
    for kind in (EngineError, CarrierError, BadStream):
        assert issubclass(kind, TheirFault)
    for branch in (Refused, TheirFault, JournalError):
        assert issubclass(branch, CallMeBackError)
