"""How new memories join old ones."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.memory import (
    GREATEST,
    LEAST,
    LONGEST,
    MOST,
    MOST_FACTS,
    Finding,
    Mark,
    Memory,
    Merged,
    cleaned,
    folded,
    is_forgotten,
    marks,
    marks_lifted,
    marks_of_correction,
    merge,
    telling,
)

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
TODAY = NOON.date()


def maker(owner: str) -> Mark:
    """Marks as the server makes them, without a key."""
    return lambda what, words: sha256(f"{owner}\n{what}\n{words}".encode(errors="surrogatepass")).hexdigest()


MARK, BENS = maker("ann sarah"), maker("ben sarah")


def memory(ident: str = "1", text: str = "My sister is called Ann", **more: object) -> Memory:
    whole = Memory(ident, "fact", text, "", 3, TODAY, "call-1", NOON, NOON)
    return replace(whole, **more)  # type: ignore[arg-type]


def merged(
    known: list[Memory],
    found: list[Finding],
    *,
    said_on: date = TODAY,
    forgotten: frozenset[str] = frozenset(),
) -> Merged:
    return merge(
        MARK,
        known,
        found,
        said_on=said_on,
        call_id="call-2",
        now=NOON + timedelta(days=1),
        forgotten=forgotten,
    )


def after(known: list[Memory], change: Merged, said_on: date = TODAY) -> list[Memory]:
    """The memories as they are then."""
    changed = {each.id: each for each in change.changed}
    kept = [changed.get(each.id, each) for each in known if each.id not in change.dropped]
    now = NOON + timedelta(days=1)
    new = [
        Memory(
            f"n{len(known)}-{place}",
            each.kind,
            each.text,
            each.subject,
            each.importance,
            said_on,
            "call-2",
            now,
            now,
        )
        for place, each in enumerate(change.added)
    ]
    return [*kept, *new]


def test_a_corrected_fact_replaces_the_old_one_and_keeps_its_id() -> None:
    old = memory(text="My interview is on Tuesday", subject="interview")
    change = merged([old], [Finding("fact", "My interview is on Wednesday", "Interview", 5)])
    [new] = change.changed
    assert (new.id, new.text, new.importance, new.call_id) == (
        "1",
        "My interview is on Wednesday",
        5,
        "call-2",
    )
    assert (change.added, change.dropped) == ((), ())


def test_what_is_known_is_kept_once() -> None:
    known = [memory(), memory("2", "the exam", kind="thread")]
    found = [Finding("fact", "my sister is called ANN!", "another subject"), Finding("thread", "The exam.")]
    assert merged(known, found) == Merged()
    assert len(merged([], [*found, *found]).added) == 2


def test_the_same_words_a_week_later_mean_another_day() -> None:
    known = [memory(text="I have an interview on Tuesday", subject="interview")]
    again = Finding("fact", "I have an interview on Tuesday", "interview")
    assert merged(known, [again]) == Merged()
    [moved] = merged(known, [again], said_on=TODAY + timedelta(days=7)).changed
    assert moved.said_on == TODAY + timedelta(days=7)


def test_the_last_word_of_a_call_counts() -> None:
    found = [
        Finding("fact", "It is on Tuesday", "interview"),
        Finding("fact", "It is on Wednesday", "interview"),
    ]
    assert merged([], found).added == (found[1],)


def test_a_fact_that_two_memories_hold_is_held_by_one() -> None:
    known = [memory(), memory("2", "My sister is called Anna", subject="sister's name")]
    change = merged(known, [Finding("fact", "My sister is called Ann", "sister's name")])
    assert change == Merged(dropped=("2",))


def test_what_is_done_is_open_no_more() -> None:
    known = [memory("1", "the exam", kind="thread"), memory("2", "the exam")]
    assert merged(known, [Finding("thread", "The exam", done=True)]) == Merged(dropped=("1",))
    assert merged([], [Finding("thread", "The exam", done=True)]) == Merged()


def test_the_least_important_go_first_and_of_those_the_oldest() -> None:
    known = [memory(str(n), f"fact {n}", updated_at=NOON + timedelta(minutes=n)) for n in range(MOST_FACTS)]
    change = merged(known, [Finding("fact", "new", importance=3)])
    assert (change.dropped, len(change.added)) == (("0",), 1)
    assert merged(known, [Finding("fact", "trifle", importance=1)]) == Merged()
    summaries = [memory(str(n), f"call {n}", kind="summary", importance=5) for n in range(3)]
    assert merged(summaries, [Finding("summary", "new", importance=1)]).dropped == ("0",)


def test_what_was_deleted_never_returns() -> None:
    gone = memory(text="I have an interview on Tuesday", subject="Interview")
    forgotten = marks(MARK, gone)
    back = [
        Finding("fact", "I have an interview on Tuesday!", "job"),
        Finding("fact", "The interview is on Friday", "interview"),
        Finding("thread", "the interview on Friday"),
        Finding("summary", "We talked about the interview."),
    ]
    assert merged([], back, forgotten=forgotten) == Merged()
    other = Finding("fact", "I like trains", "liking trains")
    assert (
        merged([], [other, Finding("summary", "We talked about trains.")], forgotten=forgotten).added[0]
        == other
    )
    assert not any(is_forgotten(BENS, each, forgotten) for each in back), "another's marks say nothing"
    assert not is_forgotten(MARK, Finding("fact", "x", ""), forgotten)


def test_marks_say_nothing_of_the_words() -> None:
    left = marks(MARK, memory(subject="sister's name"))
    assert sorted(map(len, left)) == [64, 64, 129, 129]
    assert set("".join(left)) <= set("0123456789abcdef ")
    assert len(marks(MARK, memory(subject=" - "))) == 3
    assert len(marks(MARK, memory(kind="thread"))) == 1, "what was to be asked about is no fact"
    assert marks(MARK, memory(text="\ud800"))


def test_words_are_marked_in_the_form_in_which_they_compare() -> None:
    """As older versions marked them: what was deleted then stays so."""
    left = marks(lambda what, words: f"{what}:{words.replace(' ', '_')}", memory(subject="Sister's name!"))
    assert left == {
        *("text:my_sister_is_called_ann", "subject:sister_s_name"),
        *("gist:ann_sister word:ann", "gist:ann_sister word:sister"),
    }


@pytest.mark.parametrize(
    "told",
    [
        Finding("fact", "Ann is the name of my sister", "family"),
        Finding("fact", "I have a sister, called Ann, who lives in Leeds", "Leeds"),
        Finding("summary", "We talked about their sister Ann."),
        Finding("thread", "How is Ann, your sister?"),
    ],
)
def test_what_was_deleted_does_not_return_in_other_words(told: Finding) -> None:
    forgotten = marks(MARK, memory(subject="sister's name"))
    assert merged([], [told], forgotten=forgotten) == Merged()
    assert not is_forgotten(BENS, told, forgotten)


def test_what_shares_a_word_with_what_was_deleted_is_kept() -> None:
    forgotten = marks(MARK, memory(subject="sister's name")) | marks(MARK, memory(text="I like trains"))
    others = (
        Finding("fact", "My sister lives in Leeds", "sister's home"),
        Finding("fact", "My boss is called Ann", "boss's name"),
        Finding("thread", "the trains to Leeds"),
    )
    assert merged([], list(others), forgotten=forgotten).added == others


def test_a_correction_marks_the_old_gist_where_the_new_words_have_another() -> None:
    old = memory(text="My sister is called Anne", subject="sister's name")
    left = marks_of_correction(MARK, old, "My sister is called Ann")
    assert is_forgotten(MARK, Finding("fact", "Anne is my sister", "sister's name"), left)
    assert not is_forgotten(MARK, Finding("fact", "Ann is my sister", "sister's name"), left)
    more = marks_of_correction(MARK, old, "My sister is called Anne with an e")
    assert not is_forgotten(MARK, Finding("fact", "Anne is my sister", "sister's name"), more)


def test_their_own_words_lift_the_marks_of_what_they_say() -> None:
    forgotten = marks(MARK, memory()) | marks(MARK, memory(text="I love chess"))
    left = forgotten - marks_lifted(MARK, "Ann is my sister", forgotten)
    assert not is_forgotten(MARK, Finding("thread", "How is your sister Ann?"), left)
    assert is_forgotten(MARK, Finding("fact", "Chess is what I love", "games"), left)


def test_summaries_and_threads_that_name_a_deleted_subject_go_with_it() -> None:
    known = [
        memory("1", "About the Interview, mostly", kind="summary"),
        memory("2", "the interviewer", kind="thread"),
        memory("3", "interview"),
    ]
    gone = memory("4", "It is on Tuesday", subject="interview")
    assert [each.id for each in telling(gone, known)] == ["1"]
    assert telling(replace(gone, subject=""), known) == ()


def test_summaries_and_threads_that_tell_a_deleted_fact_go_with_it() -> None:
    known = [
        memory("1", "She spoke of her sister Ann.", kind="summary"),
        memory("2", "her sister's exam", kind="thread"),
        memory("3", "Ann is my sister"),
    ]
    assert [each.id for each in telling(memory("4", subject="sister's name"), known)] == ["1"]
    assert telling(memory("5", kind="thread"), known) == (), "what was to be asked about is no fact"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('say "yes"\n\tnow', "say 'yes' now"),
        ("a\x00\x1b[0m\u202eb", "a[0mb"),
        ("line\u2028break\u0085here", "line break here"),
        ("“quoted” «words»", "'quoted' 'words'"),
    ],
)
def test_text_is_cleaned(text: str, clean: str) -> None:
    assert cleaned(text) == clean


def test_long_text_is_cut_at_a_word() -> None:
    assert cleaned("word " * 100) == ("word " * 40).strip()
    assert cleaned("x" * 300) == "x" * LONGEST


@given(st.text())
def test_cleaned_text_is_short_on_one_line_and_stays_so(text: str) -> None:
    clean = cleaned(text)
    assert len(clean) <= LONGEST
    assert len(clean.splitlines()) <= 1
    assert '"' not in clean
    assert cleaned(clean) == clean


words = st.sampled_from(["interview", "sister", "trains", "on Tuesday", "Lisbon", "exam", "work", "Ann"])
texts = st.lists(words, min_size=1, max_size=3).map(" ".join)
findings = st.builds(
    Finding,
    kind=st.sampled_from(["fact", "thread", "summary"]),
    text=texts,
    subject=st.one_of(st.just(""), words),
    importance=st.integers(LEAST, GREATEST),
    done=st.just(False),
)
known_lists = st.lists(findings, max_size=12).map(
    lambda found: after([], merged([], found))  # memories as merging makes them
)


@given(known_lists, st.lists(findings, max_size=12))
def test_merging_again_changes_nothing(known: list[Memory], found: list[Finding]) -> None:
    found = [each for each in found if each.kind != "summary"]  # each call brings one of its own
    once = after(known, merged(known, found))
    assert merged(once, found) == Merged()


@given(known_lists, st.lists(findings, max_size=12), st.randoms())
def test_the_order_does_not_matter_where_nothing_contradicts(
    known: list[Memory], found: list[Finding], shuffle: object
) -> None:
    apart: list[Finding] = []
    for each in found:
        if all(folded(each.text) != folded(other.text) for other in apart):
            apart.append(replace(each, kind="fact", subject=""))
    mixed = list(apart)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]

    def said(found: list[Finding]) -> set[tuple[str, str]]:
        return {(each.kind, folded(each.text)) for each in after(known, merged(known, found))}

    assert said(apart) == said(mixed)


@given(st.lists(st.lists(findings, max_size=30), max_size=6))
def test_there_are_never_too_many_nor_two_alike(calls: list[list[Finding]]) -> None:
    known: list[Memory] = []
    for number, found in enumerate(calls):
        known = [
            replace(each, id=f"{number}.{place}")
            for place, each in enumerate(after(known, merged(known, found)))
        ]
        for kind, most in MOST.items():
            ours = [each for each in known if each.kind == kind]
            assert len(ours) <= most
            assert len({folded(each.text) for each in ours}) == len(ours)


@given(known_lists, st.lists(findings, max_size=12))
def test_nothing_that_bears_a_mark_comes_back(known: list[Memory], found: list[Finding]) -> None:
    forgotten = frozenset().union(*(marks(MARK, each) for each in known))
    for each in merged([], found, forgotten=forgotten).added:
        assert all(folded(each.text) != folded(gone.text) for gone in known)
        assert each.kind != "fact" or all(
            not folded(gone.subject) or folded(each.subject) != folded(gone.subject) for gone in known
        )
