"""Rendered phrases: found again, and bounded."""

from pipeline.clips import CAPACITY_BYTES, Clips


def test_a_clip_is_known_by_engine_voice_and_text() -> None:
    clips = Clips()
    clips.put("voice", "nora", "Hello.", b"sound")
    assert clips.get("voice", "nora", "Hello.") == b"sound"
    assert clips.get("other", "nora", "Hello.") is None
    assert clips.get("voice", "sam", "Hello.") is None
    assert clips.get("voice", "nora", "Hello") is None


def test_the_least_recently_used_make_room() -> None:
    clips = Clips(capacity=30)
    for text in "abc":
        clips.put("e", "v", text, b"x" * 10)
    assert clips.get("e", "v", "a")
    clips.put("e", "v", "d", b"x" * 15)
    assert [text for text in "abcd" if clips.get("e", "v", text)] == ["a", "d"]


def test_a_clip_put_again_replaces_and_is_counted_once() -> None:
    clips = Clips(capacity=30)
    for _ in range(10):
        clips.put("e", "v", "a", b"x" * 20)
    clips.put("e", "v", "b", b"y" * 10)
    assert clips.get("e", "v", "a") == b"x" * 20
    clips.put("e", "v", "a", b"z" * 5)
    clips.put("e", "v", "c", b"y" * 15)
    assert clips.get("e", "v", "b") == b"y" * 10


def test_one_clip_is_kept_however_large() -> None:
    clips = Clips(capacity=30)
    clips.put("e", "v", "a", b"x" * 100)
    assert clips.get("e", "v", "a")
    clips.put("e", "v", "b", b"x")
    assert (clips.get("e", "v", "a"), clips.get("e", "v", "b")) == (None, b"x")


def test_half_an_hour_fits() -> None:
    assert CAPACITY_BYTES / 8_000 > 30 * 60
