"""Stage directions are not read out; what is merely stressed or put in brackets is."""

import pytest

from pipeline.core.directions import without_begun_direction, without_directions
from pipeline.core.sentences import SentenceCutter
from pipeline.core.spoken import spoken

# Written | spoken, one example a line.
PLAYED = """
*adjusts glasses* Well, yes. | Well, yes.
*waves* Hi there! | Hi there!
*Waves* Hi there! | Hi there!
*hugs you* I missed you. | I missed you.
I missed you. *hugs you* | I missed you.
I missed you, *hugs you* | I missed you,
I missed you *hugs you tightly* | I missed you
Oh *waves at you* it is you! | Oh it is you!
(with a warm smile) Hello there. | Hello there.
Hello there (with a warm smile). | Hello there.
(in a soft voice) Good night. | Good night.
(waves) Hi. | Hi.
(adjusts glasses) Hm. | Hm.
(smiling) Hi. | Hi.
(still laughing) Stop it. | Stop it.
*polishes monocle* Indeed. | Indeed.
*boops your nose* Got you. | Got you.
*leans back, crosses arms, and grins* So. | So.
*takes a sip of coffee* Morning. | Morning.
*looks at you thoughtfully* Why? | Why?
*gives you a big hug* There. | There.
*raises an eyebrow* Really? | Really?
*winks* *nods* Sure. | Sure.
_waves_ Hi. | Hi.
*with a warm smile* Hello. | Hello.
*in a low voice* Come here. | Come here.
*waving enthusiastically* Hello! | Hello!
*Adjusts glasses.* Well. | Well.
*pulls up a chair and sits down next to you, still smiling warmly* So, tell me. | So, tell me.
*smiling warmly* Hi. | Hi.
*laughing* Stop it. | Stop it.
*clears throat* Ahem. | Ahem.
[waves] Hi. | Hi.
[smiling warmly] Hi. | Hi.
*looks at you* *nods* Sure. | Sure.
*looks at you* "Sure." | "Sure."
Well, *looks at you* I do. | Well, I do.
I see you there *looks at you*. | I see you there.
"""
SAID = """
It is *really* good | It is really good
She *waves* at me | She waves at me
It *takes time* | It takes time
That *works* | That works
who *knows* | who knows
*Always* be kind. | Always be kind.
*Yes*, I do. | Yes, I do.
*This* is it. | This is it.
*Cats* are great. | Cats are great.
*Cats love fish.* | Cats love fish.
*Thanks so much!* | Thanks so much!
*Let's go!* | Let's go!
*That's right.* | That's right.
*Lots of people* think so. | Lots of people think so.
*always* remember that. | always remember that.
*sometimes* it rains. | sometimes it rains.
*perhaps* you should. | perhaps you should.
the dog *sits* there | the dog sits there
He *never* says so. | He never says so.
I *love* it. | I love it.
**waves** are high | waves are high
I read *Looks Good* yesterday. | I read Looks Good yesterday.
(takes two days) | (takes two days)
(holds up to 5 people) | (holds up to five people)
(with a dog) | (with a dog)
(in a week) | (in a week)
Try it (it looks good). | Try it (it looks good).
It means *good news* to me. | It means good news to me.
*good news* for you. | good news for you.
*yes* | yes
*does* it matter? | does it matter?
*is* it you? | is it you?
My *keys* are gone. | My keys are gone.
One thing: *patience*. | One thing: patience.
We need *eggs and tea*. | We need eggs and tea.
You said: *cats*, not dogs. | You said: cats, not dogs.
*us* and them | us and them
Read *War and Peace*. | Read War and Peace.
This is how she *looks at you*. | This is how she looks at you.
*no*, wait. | no, wait.
*unless* you mind. | unless you mind.
*your* call. | your call.
They are nice, *cats and dogs*. | They are nice, cats and dogs.
It takes a while to get there, *patience and tea*. | It takes a while to get there, patience and tea.
**hugs you tightly** Hi | hugs you tightly Hi
*Takes two pills a day* is what the label says. | Takes two pills a day is what the label says.
*takes pills* is what the label says. | takes pills is what the label says.
*takes two pills a day.* So it says. | takes two pills a day. So it says.
*takes pills 4 times a day.* So it says. | takes pills four times a day. So it says.
The shop: *closes at 5*. | The shop: closes at five.
The shop: *closes early*. | The shop: closes early.
First, *turns left at the church*, then straight on. | First, turns left at the church, then straight on.
Sure, *Moves Like Jagger* is by Maroon 5. | Sure, Moves Like Jagger is by Maroon five.
Sure, *Moves Like Jagger*. | Sure, Moves Like Jagger.
*Runs Like Hell* is long. | Runs Like Hell is long.
Sure, *Waves* is by him. | Sure, Waves is by him.
Sure, *Waves*. | Sure, Waves.
*Waves* is by him. | Waves is by him.
"""


def examples(block: str) -> list[tuple[str, str]]:
    pairs = (line.split(" | ") for line in block.strip().splitlines())
    return [(written, said) for written, said in pairs]


@pytest.mark.parametrize(("written", "said"), examples(PLAYED))
def test_what_is_played_is_not_said(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize(("written", "said"), examples(SAID))
def test_what_is_stressed_is_said(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize(("written", "said"), examples(PLAYED) + examples(SAID))
def test_a_reply_that_comes_letter_by_letter_has_the_same_said(written: str, said: str) -> None:
    cutter = SentenceCutter()
    assert " ".join([*(it for letter in written for it in cutter.add(letter)), *cutter.finish()]) == said


def test_other_words_keep_their_marks() -> None:
    assert without_directions("*really* [sighs] (so) __it__") == "*really*   (so) __it__"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Hi. *adjusts gla", "Hi. "),
        ("Hi. *chuckles sof", "Hi. "),
        ("It is *rea", "It is *rea"),
        ("Hi. *takes a si", "Hi. "),
        ("The shop: *closes ear", "The shop: *closes ear"),
        ("*Takes pills eve", "*Takes pills eve"),
        ("Hi.", "Hi."),
    ],
)
def test_a_direction_that_breaks_off_goes_too(text: str, left: str) -> None:
    assert without_begun_direction(text) == left
