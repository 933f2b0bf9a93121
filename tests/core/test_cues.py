"""Cues in a caller's words, each with turns that are one and turns that come close to one.

Long because it is tables of what people say, each beside what comes close to it.
"""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import cues, greetings, leave

EXAMPLES: dict[Callable[[str], bool], tuple[str, str]] = {
    leave.farewell: (
        """
        I have to go.
        I've got to go now.
        okay well i gotta run bye
        Okay, well, I gotta run. Bye!
        Talk to you later.
        I'll talk to you later, okay?
        Goodbye.
        Goodbye, Luna.
        bye bye
        Bye-bye now.
        Thanks, that's all, bye.
        That's all for now.
        That's all, thank you.
        Thank you, that's all I need.
        That'll be all.
        I should let you go.
        I'll let you go.
        Good night.
        Good night, my friend.
        Have a good night!
        You have a nice day too.
        I have to go, thanks.
        Can we talk tomorrow? I have to go.
        I'd better go now.
        I should get going.
        I need to get back to work.
        I have to go to bed now.
        I've gotta run, talk soon!
        See you tomorrow, bye.
        Alright, take care.
        it was nice talking to you bye
        It was nice talking to you.
        I'm going to hang up now.
        I'm hanging up.
        Sorry, my mom is calling, I have to go.
        It's late, so I have to go.
        I think I have to go now.
        Okay, bye, love you.
        Bye for now, thank you so much.
        Well, I just wanted to say goodbye.
        Thanks for everything, bye.
        Bye, thank you for the chat.
        If you don't mind, I have to go.
        I have to go, I have to go, bye.
        we have to go now
        Catch you later.
        I’ve got to go.
        You can hang up now.
        Before I go, goodbye.
        I have to go bye
        I have to go now, thanks so much for calling.
        Bye, thank you so much for calling.
        I've got to go now, dinner's ready.
        I gotta run, my bus is here.
        I have to go, my kids are calling.
        I have to go now, my bus is here, bye.
        Thanks so much for calling, bye.
        I need to go, someone's at the door.
        I have to run, I'm late for work.
        I have to go now, I'm late.
        Sorry, I have to go, the baby is crying.
        I have to go because dinner's ready.
        I have to go, thank you very much for the call.
        Okay, I've gotta go, my mom's calling me.
        I have to go now. My phone is dying.
        Goodbye, thanks a lot for everything.
        Okay, I have to go now.
        I really have to go, there's someone at the door.
        I have to go, it was lovely talking to you.
        I've got to go, talk to you tomorrow, thanks so much for listening.
        I'm going to hang up now, my battery is almost dead.
        I should get going, we're about to eat.
        I have to go now, it's getting late.
        I have to go, I have a meeting.
        I gotta go, I've got a meeting in five minutes.
        I have to get back to work, my break is over.
        I should go to bed, I'm tired.
        Thank you so much for your time and your help, goodbye.
        Bye, thanks for the chat, have a good one.
        I have to go, thanks for calling me today, really.
        I have to hang up now, the train is going into a tunnel.
        """,
        """
        I have to go to the dentist tomorrow.
        My sister said goodbye to him.
        My sister said goodbye.
        She said, I have to go.
        Should I go now or later?
        should I go now
        When I have to go there
        when i have to go
        When the bell rings, I have to go.
        That's where I have to go.
        Don't go.
        Don't go yet, please.
        Before I go, one question.
        Before I go, can I ask you something?
        Do I have to go?
        Bye? Already?
        I don't have to go.
        I have to go there.
        I have to go but one more thing
        Bye, oh wait, what was your name?
        Bye, wait.
        We talked about saying goodbye.
        It was a goodbye party.
        It was a good night.
        I never got to say goodbye.
        What does goodbye mean?
        You have to go now.
        He has to go.
        By the way, I like tea.
        Okay, thanks.
        Thank you so much.
        Well.
        He told me I have to go.
        I have a good day job.
        I had a great day.
        I will run a marathon tomorrow.
        What if I have to go?
        I want to leave my job.
        That's all I know about it.
        I hope to see you.
        I have to go now and then.
        should I say goodbye to him?
        I have to go now and then, it is annoying.
        I have to go, my doctor says.
        I have to go, is that right?
        I have to go, but first tell me a joke.
        I have to go, but my bus is not here yet.
        I have to go tomorrow, my bus is at nine.
        When I have to go, my bus is here.
        He said I have to go, my bus is here.
        I have to go, can you tell me one more thing?
        I have to run, it's my favorite sport.
        Thanks so much for calling.
        Thank you so much for calling, how are you?
        I have to go, what do you think?
        I have to go, my question is what to wear.
        I have to leave, that's what she told me.
        I gotta run every day.
        I have to go, my boss says I should.
        I have to run, I love it.
        My bus is here.
        Dinner's ready.
        I have to leave him, I'm tired of it.
        I have to go there, it's late.
        Do I have to go now, dinner's ready?
        I need to leave, my marriage is over.
        I have to go, I'm so nervous about it.
        I have to get ready, the interview is on Tuesday.
        Well, my bus is here.
        I have to say, dinner's ready.
        I have to get ready, I have an interview on Tuesday.
        Bye, thanks for asking, but how are you?
        I have to go, thank you for what do you call it.

        """,
    ),
    cues.backchannel: (
        """
        mm-hm
        Mm-hmm.
        mhm
        Uh-huh.
        uh huh
        yeah
        Yes?
        Right.
        okay
        OK, sure.
        I see.
        Oh, I see.
        Oh, wow.
        Really?
        Hmm.
        Got it.
        Go on.
        Yeah, yeah, yeah, yeah, yeah.
        Okay, got it.
        That makes sense.
        """,
        """
        no
        No, no.
        stop
        Wait.
        What?
        Why?
        Yeah, but I think so.
        I see a dog.
        Okay, tell me more.
        Right, okay, sure, I see, go on.
        Go on without me.
        How are you?
        Hello?
        um

        """,
    ),
    cues.calls_out: (
        """
        Stop.
        Wait.
        Oh, wait a moment.
        Hold on.
        Just a second!
        One moment please.
        Excuse me.
        Sorry?
        Hello?
        Hey, listen.
        Shut up!
        Help!
        Please stop.
        What is that?
        No, not that one.
        How do you know?
        Can I say something?
        Let me ask you something.
        I have to go now, goodbye!
        Do not call me again.
        """,
        """
        No.
        No, no, no, no.
        What?
        Who?
        I'm.
        Hi.
        You
        Thank you.
        Bye.
        Mm-hm.
        Yeah, yeah.
        Stopping by the woods.
        That thing.
        We could wait a bit longer.

        """,
    ),
    cues.unfinished: (
        """
        and
        I was there and
        I wanted to go, but
        I like it because
        So
        And so
        I was thinking that, um
        Uh
        I went to the
        I want to
        I went to the store with my
        I don't know if
        Well,
        I was thinking -
        I was thinking—
        I was going to say...
        I was going to say…
        I want the.
        I like him, but.
        My name is
        And then
        I'm
        I wanted to tell you about
        I was born in
        well
        I mean
        Tell him that I
        I called her and I
        """,
        """
        I think so.
        I think so
        I hope so
        Where are you from
        Where are you from?
        What is it for?
        What are you thinking about
        Yes.
        I was going to.
        I'd love to
        Yes it is
        Yes I am
        I know what it is
        Go on
        Come on
        Uh-huh.
        It rained.
        That is a nice dog
        I see
        Not at all.
        Stop!

        ...
        """,
    ),
    greetings.machine: (
        """
        Please leave a message after the tone.
        Please leave your message after the beep.
        Leave a message at the beep.
        At the tone, please record your message.
        You have reached the voicemail of Dana Smith.
        You've reached the voice mailbox of
        Hi, you've reached Dana.
        Hi, this is Dana, you've reached my phone, leave a message and I'll call you back.
        The person you are trying to reach is not available.
        The person you're trying to reach
        The number you have dialed is not in service.
        The party you are calling is unavailable.
        five five five zero one two three is not available
        Dana Smith is not available. Please leave a message.
        is not available
        I'm sorry, I can't come to the phone right now.
        Your call has been forwarded to an automated voice messaging system.
        The mailbox is full and cannot accept any messages at this time.
        When you have finished recording, you may hang up or press 1 for more options.
        I'm away from my phone, leave your name and number.
        please leave a brief message and i'll get back to you
        Please leave a message.
        The user you're calling has a voicemail box that has not been set up yet.
        """,
        """
        Leave me a message sometime.
        Can you please leave me a message sometime?
        My husband is not available.
        The product is not available in stores.
        Hello?
        Hello, this is Dana.
        You've reached a decision.
        You've reached me at a bad time.
        You've reached Dana, how can I help you?
        I left a message on his voicemail.
        My mailbox is full of spam.
        I got your message.
        I heard a beep.
        He set the tone.
        I can't come tomorrow.
        Should I leave a message?
        Please leave a message for him.
        Please say your name after the tone and I'll see if this person is available.

        """,
    ),
    greetings.mailbox_full: (
        """
        The mailbox is full.
        The mailbox is full and cannot accept any messages at this time. Goodbye.
        Sorry, this mailbox is currently full.
        The voicemail box is full
        The person you are trying to reach has a voice mailbox that has not been set up yet.
        We are unable to accept new messages.
        The subscriber's mailbox cannot take messages.
        """,
        """
        My mailbox is full of spam.
        The mailbox is full of letters.
        Your mailbox is full.
        Is your mailbox full?
        Please leave a message after the tone.
        I am full.
        I can't accept that.

        """,
    ),
    greetings.screening: (
        """
        Hi, if you record your name and reason for calling, I'll see if this person is available.
        Hi, the person you're calling is using a screening service and will get a copy of this.
        Go ahead and say your name and why you're calling.
        Please stay on the line.
        Thank you. Please stay on the line.
        Stay on the line
        Who is calling? Please state your name.
        who is calling please state your name
        Please say your name after the tone.
        Please state your name and the purpose of your call.
        Before I try to connect you, who is this?
        The person you are calling is screening calls
        """,
        """
        Who is calling?
        May I ask who's calling?
        What's your name?
        I'll see if he is available.
        I always say your name wrong.
        The screening of the film was fun.
        I stay on the line every day.
        Please leave a message after the tone.
        Hello?

        """,
    ),
    cues.opt_out: (
        """
        Stop calling me.
        STOP CALLING ME!
        Please stop calling me.
        okay please stop calling me thanks
        Stop calling me, please. Stop calling me!
        Don't call me again.
        Do not call me anymore.
        dont call me again
        Never call me again.
        Don't ever call me again.
        Take me off your list.
        Please take my number off your calling list.
        Remove my number.
        Remove me from your list, thank you.
        Unsubscribe.
        Opt out.
        I want to opt out.
        I'd like to opt out of these calls.
        Can you stop calling me?
        I said stop calling me.
        Put me on your do not call list.
        No more calls, please.
        I don't want you to call me again.
        Um, well, stop calling me, take me off your list, bye.
        """,
        """
        Stop.
        cancel
        End.
        Quit.
        Stop it.
        Stop calling me Jenny.
        My boss should stop calling me.
        My ex won't stop calling me.
        Don't call me tomorrow.
        Don't call me a liar.
        Why did you stop calling me?
        I told my sister to never call me again.
        How do I unsubscribe from a newsletter?
        Stop calling me at work, I mean my boss does that.
        She asked me to remove my number from the file.
        Please call me again.

        """,
    ),
}


def lines(block: str) -> list[str]:
    return [line.strip() for line in block.splitlines()[1:-1]]


HUMS = """mm mmm mmmm mhm mhmm mmhm mmhmm mmmhmm mm-hm mm-hmm mmm-hmm m-hm m-hmm m'hm mm-mm mhm-mhm hm hmm hmmm hm-hm
    hmm-mm um-hum um-hmm umhmm uh-hum uh-hmm uh-huh uhhuh uh-huh-huh uhh-huh unh-hunh unh-huh huh hunh ah ahh aha a-ha
    ah-ha oh ohh ooh oooh aw aww ha haha ha-ha hahaha hehe heh yeah yeahh yea yah yup yupp yep mkay mmkay"""
"""As transcribers spell them; `mhmm`, `mm-mm` and `uh-huh` are Deepgram's own."""
NO_HUMS = """m&m m_m um uh er uh-uh uh_uh nuh-uh m he hey hi ham hum home hush human whom mom ohio aloha yet you why who
    ahead hmm,_why? mhmm_but mm_no uh-huh_no_wait"""


@pytest.mark.parametrize("hum", HUMS.split())
def test_a_listening_noise_is_known_however_it_is_spelt(hum: str) -> None:
    for said in (hum, f"{hum.capitalize()}.", f"{hum}, {hum}", hum.replace("-", " "), f"{hum} okay"):
        assert cues.backchannel(said), said
    assert not cues.unfinished(hum)
    assert not cues.backchannel(f"{hum}, why?")


@pytest.mark.parametrize("word", [word.replace("_", " ") for word in NO_HUMS.split()])
def test_what_sounds_like_one_and_is_none(word: str) -> None:
    assert not cues.backchannel(word)


YES = [(cue, text) for cue, (yes, _) in EXAMPLES.items() for text in lines(yes)]
NO = [(cue, text) for cue, (_, no) in EXAMPLES.items() for text in lines(no)]


def name(value: object) -> str:
    return value if isinstance(value, str) else getattr(value, "__name__", "")


@pytest.mark.parametrize(("cue", "text"), YES, ids=name)
def test_it_is_a_cue(cue: Callable[[str], bool], text: str) -> None:
    assert cue(text)


@pytest.mark.parametrize(("cue", "text"), NO, ids=name)
def test_it_comes_close_to_a_cue(cue: Callable[[str], bool], text: str) -> None:
    assert not cue(text)


@pytest.mark.parametrize(
    ("cue", "text"),
    [(cue, text) for cue, text in YES if cue is not cues.unfinished],
    ids=name,
)
def test_case_fillers_and_punctuation_do_not_matter(cue: Callable[[str], bool], text: str) -> None:
    assert cue(text.upper())
    if cue is not cues.backchannel:
        bare = "".join(ch for ch in text if ch not in ".,!")
        if cue in {leave.farewell, cues.opt_out}:
            assert cue(f"Okay, {text}")
        if (
            cue is not leave.farewell
        ):  # without punctuation it cannot always be told from what is only talked about
            assert cue(bare)


@pytest.mark.parametrize("cue", EXAMPLES, ids=name)
@given(text=st.text() | st.text("abc .,?!'-|…  \n", max_size=80))
def test_any_text_has_an_answer(cue: Callable[[str], bool], text: str) -> None:
    assert cue(text) in {True, False}


@pytest.mark.parametrize("cue", EXAMPLES, ids=name)
def test_a_long_turn_is_read_in_no_time(cue: Callable[[str], bool]) -> None:
    # Patterns that backtrack would take minutes here, and the test's time would be up.
    assert not cue("so that is the thing and you have reached it and i have to go " * 60 + "home with him")


@pytest.mark.parametrize("sound", ["uhhh", "m", "mh", "ha", "huhhh", "mm-"])
def test_a_long_hum_is_read_in_no_time(sound: str) -> None:
    assert not cues.backchannel(f"uh{sound * 500}x")
