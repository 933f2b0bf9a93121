"""What a caller's words mean for the course of the call, apart from their content.

Each cue is a predicate on the words of one turn, transcribed with punctuation or without. What follows
from a cue is decided where it is asked for. English only; a cue in doubt is no cue. Of those who take leave
`leave.py` knows.
"""

from __future__ import annotations

import re

from pipeline.core.leave import farewell
from pipeline.core.wording import any_of, plain

# -- listening -------------------------------------------------------------------------

_ASSENTS = frozenset(
    """uhuh|yes|ya|right|okay|ok|alright|all right|sure|for sure|of course|i see|wow|really|got it|gotcha
    |go on|go ahead|cool|nice|great|good|fine|true|exactly|absolutely|definitely|totally|indeed|interesting|perfect
    |awesome|amazing|lovely|i know|i understand|understood|makes sense|that makes sense|fair enough|i bet|oh my
    |oh my god|my god|oh boy|very nice|sounds good|that's true|that's right""".replace("\n    ", "").split(
        "|"
    )
)
# Every transcriber spells these in its own way. "Uh-uh" is a no, "uh" and "um" begin something.
_HUM = re.compile(
    any_of(
        r"m*h+m+",
        r"m{2,}",
        r"m+[-' ]h+u?m+",
        r"(?:m{2,}|m*h+m+)(?:[- ](?:m{2,}|m*h+m+)){1,4}",
        r"u[hm]+[- ]?h+u?m+",
        r"(?:u+n?h+|a+h+)(?:[- ]?hu+n?h+){1,3}",
        r"hu+n?h+",
        r"a+h*[- ]?h+a+h*",
        r"o+h+",
        r"a+(?:h|w)+",
        r"ha+(?:[- ]?ha+)*h*",
        r"he(?:[- ]?he)+h*",
        r"heh+",
        r"ye+a+h*",
        r"yah+",
        r"y[ue]p+",
        r"m+-?kay",
    )
)
BACKCHANNEL_WORDS = 3


def backchannel(text: str) -> bool:
    """The whole turn is but listening noises or assent, short or repeated."""
    left, said = plain(text).split(), []
    count = len(left)
    while left:
        size = next((size for size in (3, 2, 1) if _assents(" ".join(left[:size]))), 0)
        if not size:
            return False
        said.append(" ".join(left[:size]))
        left = left[size:]
    return bool(said) and (count <= BACKCHANNEL_WORDS or len(set(said)) == 1)


def _assents(words: str) -> bool:
    return words in _ASSENTS or _HUM.fullmatch(words) is not None


# -- a word that takes the floor -----------------------------------------------------------

_CALLS = re.compile(
    r"(?:(?:oh|well|but|and|okay|ok|um|uh|no|hey|please|yeah|yes) )*"
    r"(?:stop|wait|hold (?:on|it)|hang on|(?:just )?(?:one|a) (?:second|sec|moment|minute)|excuse me|sorry|pardon"
    r"|hey|hello|help|listen|quiet|shut up|enough)\b"
)
_BEGINS = re.compile(
    r"(?:(?:oh|well|but|and|okay|ok|um|uh|no|please|yeah|yes) )*"
    r"(?:no|nope|not|what|who|why|where|when|how|which|hi|look|actually|never mind|let me|can i|could i|may i|can you"
    r"|could you|do you|is that|is it|are you|i have|i've|i'm|i am|i said|i want|i need|i don't|i didn't|that's not)\b"
)
CALLING_WORDS = 3


def calls_out(text: str) -> bool:
    """What people say to stop somebody who speaks: even a sound that is short for words is meant, if it holds this.

    Of what merely begins a sentence there have to be several words: a hum is easily misheard as a "no".
    """
    words = plain(text)
    if _CALLS.match(words) or opt_out(text):
        return True
    several = len(set(words.split())) >= CALLING_WORDS
    return several and (_BEGINS.match(words) is not None or farewell(text))


# -- cut off ---------------------------------------------------------------------------

# Never the last word of a sentence, so that a full stop behind them is the transcriber's own.
_LINKS = re.compile(
    r"(?:^| )(?:and|but|or|nor|because|cuz|'cause|um|uhm|uh|er|erm|the|a|an|my|your|our|their|every|if|"
    r"whether|unless|although|"
    r"than|(?:and|but|so|because|that|if|when|then) (?:i|we|they|he|she|it|you)|i'm|i'll|i'd|i've|we're|"
    r"we'll|we've|you're|"
    r"you'll|they're|they'll|he'll|she'll|it'll|there's|let's|i mean|kind of|sort of|a lot of|and then|"
    r"(?:my|the|your) \w+ is|"
    r"(?<!think )(?<!hope )(?<!guess )(?<!suppose )(?<!believe )(?<!say )(?<!said )(?<!told )(?<!me "
    r")(?<!is )(?<!was )"
    r"(?<!that )(?<!do )(?<!did )(?<!does )(?<!much )(?<!even )(?<!not )(?<!or )(?<!so )(?<!quite )so)$"
)
_LINKS_IF_OPEN = re.compile(
    r"(?:^| )(?:to|of|for|with|from|at|into|about|as|like|when|while|where|which|who|is|was|are|were|it's|"
    r"that's|he's|she's|"
    r"very|it is|this is|they are|we are|some|would|could|should|will|"
    r"(?<!go )(?<!come )(?<!hold )(?<!hang )(?<!so )(?<!later )(?<!carry )on|(?<!come )(?<!came )(?<!join "
    r")(?<!move )in)$"
)
_STRANDED = re.compile(
    r"\b(?:what|what's|who|who's|where|where's|which|how|how's|why|when|yes|yeah|no|here|there|so|than|if|"
    r"thing|place|someone|"
    r"something|nothing|anything|don't|didn't|i'd love|used|supposed)\b"
)
_TRAILING = re.compile(r"(?:[,;:…(–—]|\.\.+|(?:^|[\s\w])-+)[\s\"”']*$")


def unfinished(text: str) -> bool:
    """The turn sounds cut off, so that more is likely to come."""
    said = text.strip().rstrip("\"”'")
    words = plain(said)
    if not words or said.endswith(("?", "!")) or _assents(words):
        return False
    if _TRAILING.search(said) or _LINKS.search(words) or words in {"i", "well", "like", "you know"}:
        return True
    if said.endswith("."):
        return False
    # "Where are you from" ends well.
    before = " ".join(words.split()[:-1][-6:])
    return _LINKS_IF_OPEN.search(words) is not None and not _STRANDED.search(before)


# -- no more calls ---------------------------------------------------------------------

_US = "(?:me|us|this number|here|my (?:phone|number|house|cell))"
_LISTS = r"(?:your|the|this|any) (?:(?:calling|call|contact|phone|marketing) )?(?:lists?|database|system)"
_STOP_CALLS = any_of(
    rf"(?:stop|quit) (?:calling|phoning|ringing|contacting|texting|messaging) {_US}",
    r"(?:stop|quit) (?:these|the|your|all) calls",
    rf"(?:don'?t|do not|never) (?:you )?(?:ever |dare )?(?:call|phone|ring|contact|text) {_US}",
    rf"(?:take|remove|get|delete) (?:me|us|my (?:name|(?:phone )?number)|this number) (?:off|from|off of) "
    rf"{_LISTS}",
    r"(?:remove|delete) my (?:phone )?number",
    "lose my number",
    r"unsubscribe(?: me)?",
    r"opt(?: me)? out(?: (?:of|from) (?:(?:these|your|all|the|any) )?(?:more )?calls)?",
    r"(?:put|add) (?:me|my number) (?:on|to) (?:your|the) do[ -]not[ -]call list",
    "no more calls",
    rf"(?:i )?(?:don'?t|do not) want (?:you (?:to )?(?:call|calling|ring|contact) {_US}|(?:any more|any|"
    rf"these|your) calls)",
    r"i (?:want to be|would like to be|'d like to be) removed(?: from (?:your|the) (?:calling |call )?list)?",
)
_ASKED = (
    r"(?:(?:i said|i told you(?: to)?|i want you to|i need you to|i'd like you to|i would like you to|you "
    r"need to|you have to|"
    r"i want to|i'd like to|i would like to|i wanna|just|"
    r"(?:can|could|would|will) you(?: please)?(?: just)?) )*"
)
_AROUND = (
    r"(?:okay|ok|well|so|um|uh|please|thanks|thank you|hey|hi|hello|no|yeah|yes|just|listen|look|sorry|"
    r"sir|ma'am|and|right now|"
    r"now|again|any ?more|ever again|ever|immediately|today|alright|all right|goodbye|bye|i mean it|"
    r"seriously|at all|at this number)"
)
_OPT_OUT = re.compile(rf"(?:{_AROUND} )*(?:{_ASKED}{_STOP_CALLS} (?:{_AROUND} )*)+")


def opt_out(text: str) -> bool:
    """The whole turn asks for no more calls, in one of the listed ways; a word like "stop" alone does not."""
    return _OPT_OUT.fullmatch(plain(text) + " ") is not None
