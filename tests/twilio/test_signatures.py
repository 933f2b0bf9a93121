"""Who may speak for the carrier. The vectors were computed with the vendor's SDK."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from server.signatures import Signatures, sign

ORIGIN = "https://voice.example.com"
FIELDS = [
    ("CallDuration", "61"),
    ("CallSid", "CA0123456789abcdef0123456789abcdef"),
    ("CallStatus", "completed"),
]
STATUS = "/qt+yMB/SWe1/jFaC2hg9iNOe6Y="
SOCKET = "PGLrn08/Ba1sEIuSwPQRBPD54PA="

ours = Signatures(ORIGIN, ("12345",))


@pytest.mark.parametrize(
    ("url", "fields", "signature"),
    [
        ("wss://voice.example.com/twilio/media", [], SOCKET),
        ("wss://voice.example.com/twilio/media/", [], "/l2QA+p8VR0Ejy/AIlzbV7YZXIA="),
        ("https://voice.example.com/twilio/media", [], "O4P2Ggul8e4hQEZViN+aHilXfFo="),
        ("https://voice.example.com/twilio/status", FIELDS, STATUS),
    ],
)
def test_vectors(url: str, fields: list[tuple[str, str]], signature: str) -> None:
    assert sign("12345", url, fields) == signature


def test_a_form() -> None:
    assert ours.form("/twilio/status", FIELDS, [STATUS])
    assert ours.form("/twilio/status", FIELDS[::-1], [STATUS])
    assert not ours.form("/twilio/status/", FIELDS, [STATUS])
    assert not ours.form("/twilio/status?x=1", FIELDS, [STATUS])


@pytest.mark.parametrize(
    "fields",
    [
        [*FIELDS, ("Extra", "")],
        FIELDS[1:],
        [*FIELDS, FIELDS[0]],
        [("callduration", "61"), *FIELDS[1:]],
        [("CallDuration", "61 "), *FIELDS[1:]],
        [("CallDuration", "600"), *FIELDS[1:]],
        [("CallDurationCallSid", "61CA0123456789abcdef0123456789abcdef"), FIELDS[2], ("a", "")],
        [],
    ],
)
def test_a_changed_form_does_not_verify(fields: list[tuple[str, str]]) -> None:
    assert not ours.form("/twilio/status", fields, [STATUS])


@pytest.mark.parametrize(
    "given_",
    [
        [],
        [""],
        ["A" * 28],
        [STATUS[:-1]],
        [STATUS.lower()],
        [STATUS + " "],
        [STATUS, STATUS],
        ["\u00e9" * 28],
        ["\udcff"],
    ],
)
def test_a_wrong_missing_or_doubled_signature_does_not_verify(given_: list[str]) -> None:
    assert not ours.form("/twilio/status", FIELDS, given_)


def test_a_socket_is_signed_as_wss_with_or_without_a_slash() -> None:
    assert ours.socket("/twilio/media", [SOCKET])
    assert ours.socket("/twilio/media", ["/l2QA+p8VR0Ejy/AIlzbV7YZXIA="])
    assert not ours.socket("/twilio/media", ["O4P2Ggul8e4hQEZViN+aHilXfFo="])  # signed as https
    assert not ours.socket("/twilio/other", [SOCKET])


@pytest.mark.parametrize("port", ["", ":443"])
def test_the_default_port_may_be_signed_or_not(port: str) -> None:
    for origin in (ORIGIN, ORIGIN + ":443"):
        known = Signatures(origin, ("12345",))
        assert known.socket("/twilio/media", [sign("12345", f"wss://voice.example.com{port}/twilio/media")])
        assert known.form("/p", FIELDS, [sign("12345", f"https://voice.example.com{port}/p", FIELDS)])


def test_a_port_of_our_own_may_be_signed_or_not_and_no_other() -> None:
    known = Signatures("https://voice.example.com:8443", ("12345",))
    assert known.form("/p", FIELDS, [sign("12345", "https://voice.example.com:8443/p", FIELDS)])
    assert known.form("/p", FIELDS, [sign("12345", "https://voice.example.com/p", FIELDS)])
    assert not known.form("/p", FIELDS, [sign("12345", "https://voice.example.com:443/p", FIELDS)])
    assert known.socket_origin == "wss://voice.example.com:8443"


def test_loopback_is_plain() -> None:
    for host in ("127.0.0.1", "[::1]", "localhost"):
        known = Signatures(f"http://{host}:8000", ("12345",))
        assert known.socket("/twilio/media", [sign("12345", f"ws://{host}:8000/twilio/media")])
        assert not known.socket("/twilio/media", [sign("12345", f"wss://{host}:8000/twilio/media")])


def test_user_and_password_are_not_signed_and_a_prefix_is() -> None:
    known = Signatures("https://me:secret@voice.example.com/calls/", ("12345",))
    assert known.form("/p?q=%20x", (), [sign("12345", "https://voice.example.com/calls/p?q=%20x")])
    assert known.socket_origin == "wss://voice.example.com/calls"


def test_an_old_token_works_until_it_is_taken_out() -> None:
    both = Signatures(ORIGIN, ("new", "12345"))
    assert both.form("/twilio/status", FIELDS, [STATUS])
    assert both.form("/twilio/status", FIELDS, [sign("new", ORIGIN + "/twilio/status", FIELDS)])
    assert not Signatures(ORIGIN, ("new",)).form("/twilio/status", FIELDS, [STATUS])


@pytest.mark.parametrize(
    ("url", "tokens"), [(ORIGIN, ()), (ORIGIN, ("",)), (ORIGIN, ("x", "")), ("voice", ("x",))]
)
def test_no_secret_no_start(url: str, tokens: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"public URL|auth token"):
        Signatures(url, tokens)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
        max_size=8,
    ),
    st.dictionaries(st.sampled_from("abc"), st.text(st.characters(exclude_categories=["Cs"]), max_size=10)),
)
def test_ours_and_the_vendors_signature_agree(fields: dict[str, str], query: dict[str, str]) -> None:
    target = "/hook" + (f"?{urlencode(query)}" if query else "")
    theirs = RequestValidator("12345").compute_signature(ORIGIN + target, fields)
    assert ours.form(target, list(fields.items()), [theirs])
