"""The conversation, twice: for people and for the model."""

from pipeline.core.effects import Message, TurnTaken
from pipeline.core.money import Millis
from pipeline.core.transcript import Transcript


def test_turns_are_numbered_and_become_messages() -> None:
    transcript = Transcript()
    taken = [
        transcript.agent("Hello.", Millis(1), Millis(2), interrupted=True),
        transcript.caller("Hi.", Millis(3), Millis(4)),
    ]
    assert taken == [
        TurnTaken(0, "agent", "Hello.", Millis(1), Millis(2), interrupted=True),
        TurnTaken(1, "caller", "Hi.", Millis(3), Millis(4)),
    ]
    assert transcript.turns == 2
    assert transcript.messages == [Message("assistant", "Hello."), Message("user", "Hi.")]


def test_what_has_no_answer_yet_is_all_of_it_since_the_agent_was_heard() -> None:
    transcript = Transcript()
    assert transcript.unanswered == ""
    transcript.caller("Hi.", Millis(0), Millis(1))
    transcript.agent("Hello.", Millis(1), Millis(2), interrupted=False)
    assert transcript.unanswered == ""
    transcript.caller("I have to go.", Millis(3), Millis(4))
    transcript.caller("Thanks", Millis(5), Millis(6))
    assert transcript.unanswered == "I have to go. Thanks"


def test_a_turn_is_answered_once_the_agent_was_heard_to_the_end() -> None:
    transcript = Transcript()
    transcript.agent("Hello.", Millis(0), Millis(1), interrupted=False)
    transcript.caller("Hi.", Millis(1), Millis(2))
    transcript.agent("Who", Millis(2), Millis(3), interrupted=True)
    assert transcript.answered == 0
    transcript.caller("Who is it?", Millis(3), Millis(4))
    transcript.agent("Nora.", Millis(4), Millis(5), interrupted=False)
    transcript.agent("Are you still there?", Millis(6), Millis(7), interrupted=False)
    assert transcript.answered == 1
    assert transcript.callers == ["Hi.", "Who is it?"]
    resumed = Transcript()
    resumed.resume(transcript.messages)
    assert resumed.answered == 2
