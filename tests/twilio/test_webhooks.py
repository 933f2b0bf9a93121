"""What the carrier's requests are answered, and what of them reaches the desk."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from server.signatures import sign
from tests.twilio.attacker import CALL_A, post, signed_post, status_form
from tests.twilio.rig import AUTH_TOKEN, FakeDesk, run_scaled, site

VOICE = "/twilio/voice?call=c1"


def test_an_answered_call_is_connected_and_ends_whatever_becomes_of_the_stream() -> None:
    async def main() -> None:
        desk = FakeDesk()
        async with site(desk=desk, public_url="https://voice.example.com") as place:
            form = status_form(CallStatus="in-progress")
            signature = sign(AUTH_TOKEN, "https://voice.example.com" + VOICE, form)
            status, kind, text = await post(place, VOICE, form, signature)
            root = ElementTree.fromstring(text)
            assert (status, kind, [verb.tag for verb in root]) == (
                200,
                "text/xml",
                ["Connect", "Redirect", "Hangup"],
            )
            stream = root.find("Connect/Stream")
            assert stream is not None
            assert stream.attrib == {
                "url": "wss://voice.example.com/twilio/media",
                "statusCallback": "https://voice.example.com/twilio/stream",
            }
            token = {name: stream[0].get(name) for name in ("name", "value")}
            assert token == {"name": "token", "value": next(iter(desk.tokens))}
            assert desk.answers == [("c1", CALL_A)]
            redirect = root.find("Redirect")
            assert redirect is not None
            assert (redirect.text, redirect.attrib) == (
                "https://voice.example.com/twilio/resume?call=c1",
                {"method": "POST"},
            )

    run_scaled(main())


def test_a_call_whose_stream_ended_is_connected_again_or_hung_up() -> None:
    async def main() -> None:
        desk = FakeDesk(resumes=True)
        async with site(desk=desk) as place:
            _, _, text = await signed_post(place, "/twilio/resume?call=c1", status_form())
            assert [verb.tag for verb in ElementTree.fromstring(text)] == ["Connect", "Redirect", "Hangup"]
            desk.resumes = False
            for target in ("/twilio/resume?call=c1", "/twilio/resume"):
                _, _, text = await signed_post(place, target, status_form())
                assert [verb.tag for verb in ElementTree.fromstring(text)] == ["Hangup"]
            assert desk.asked == [("c1", CALL_A), ("c1", CALL_A)]
            assert (await post(place, "/twilio/resume?call=c1", status_form(), "no"))[0] == 403

    run_scaled(main())


@pytest.mark.parametrize(
    ("accept", "target"), [(False, VOICE), (True, "/twilio/voice"), (True, "/twilio/voice?call=")]
)
def test_a_call_that_may_not_go_on_is_hung_up(accept: bool, target: str) -> None:
    async def main() -> None:
        desk = FakeDesk(accept=accept)
        async with site(desk=desk) as place:
            status, _, text = await signed_post(place, target, status_form())
            assert (status, [verb.tag for verb in ElementTree.fromstring(text)]) == (200, ["Hangup"])
            assert desk.tokens == {}

    run_scaled(main())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"CallStatus": "completed", "CallDuration": "61"}, [(CALL_A, "c1", "completed", 61, 1)]),
        ({"CallStatus": "busy"}, [(CALL_A, "c1", "busy", None, 1)]),
        (
            {"CallStatus": "completed", "CallDuration": "-1", "SequenceNumber": "x"},
            [(CALL_A, "c1", "completed", None, 0)],
        ),
        ({"CallStatus": "on-hold"}, []),
        ({"CallStatus": ""}, []),
    ],
)
def test_a_status(fields: dict[str, str], expected: list[tuple[object, ...]]) -> None:
    async def main() -> None:
        async with site() as place:
            assert await signed_post(place, "/twilio/status?call=c1", status_form(**fields)) == (
                204,
                "application/octet-stream",
                "",
            )
            assert place.desk.statuses == expected

    run_scaled(main())


def test_a_verdict_and_a_stream_event() -> None:
    async def main() -> None:
        async with site() as place:
            form = status_form(AnsweredBy="machine_end_beep", StreamEvent="stream-error", StreamError="31920")
            assert (await signed_post(place, "/twilio/amd", form))[0] == 204
            assert (await signed_post(place, "/twilio/stream", form))[0] == 204
            assert place.desk.verdicts == [(CALL_A, "machine_end_beep")]
            assert (place.desk.statuses, place.desk.answers) == ([], [])

    run_scaled(main())


def test_blanks_and_other_scripts_are_signed_as_they_are() -> None:
    async def main() -> None:
        async with site() as place:
            form = status_form(ToCity="", FromCity=" ZÜRICH ", Odd="a+b&c=d%20 é")
            assert (await signed_post(place, "/twilio/status?call=c%201", form))[0] == 204
            assert place.desk.statuses[0][1] == "c 1"

    run_scaled(main())


def test_only_short_forms_are_read() -> None:
    async def main() -> None:
        async with site() as place:
            path = "/twilio/status?call=c1"
            long = status_form(Padding="x" * 17_000)
            assert (await signed_post(place, path, long))[0] == 413
            many = status_form(**{f"F{number}": "" for number in range(200)})
            assert (await signed_post(place, path, many))[0] == 403
            form = status_form()
            good = sign(AUTH_TOKEN, place.url + path, form)
            for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain", ""):
                assert (await post(place, path, form, good, {"Content-Type": kind}))[0] == 415
            assert not place.desk.touched

    run_scaled(main())
