"""What a caller's words mean for the course of the call, apart from their content.

Each cue is a predicate on the words of one turn, transcribed with punctuation or without. What follows
from a cue is decided where it is asked for. English only; a cue in doubt is no cue.

Long because most of it is tables of phrases.
"""

from __future__ import annotations

import re

from pipeline.core.wording import any_of, clauses, plain

# -- taking leave ----------------------------------------------------------------------

_SOON = any_of(
    "later",
    "soon",
    "tomorrow",
    "tonight",
    "next time",
    "again(?: soon)?",
    "then",
    "around",
    "in a bit",
    "another time",
    "(?:on |next )?(?:mon|tues|wednes|thurs|fri|satur|sun)day",
    "next week",
    "in the morning",
)
_PART = any_of(
    r"go(?: now)?",
    "be going",
    "get going",
    "run",
    "leave",
    "hang up",
    "head out",
    "head off",
    "be off",
    "bounce",
    "dash",
    "jet",
    "take off",
    "sign off",
    "get off(?: the phone)?",
    "get back to (?:work|it)",
    "go to (?:bed|sleep)",
    "get (?:some sleep|ready)",
    "let you go",
    "end (?:the|this) call",
    "say good ?bye",
    "go back to work",
)
_HAVE_TO = any_of(
    r"(?:i|we)(?:'ve| have)? ?(?:really |just |do |actually )*(?:gotta|got to|have to|need to|must)",
    r"(?:i|we)(?: really| probably)?(?:'d| had)? (?:really |probably )?better",
    r"i(?: really| probably)? (?:should|ought to)(?: really| probably)?",
    r"(?:i'm|i am|we're|we are) (?:gonna|going to|about to)(?: have to)?",
    r"(?:i|we)'ll (?:have to )?(?:just )?",
    r"i (?:just )?(?:want|wanted|wanna)(?: to)?",
    r"let me",
)
_ASIDE = r"(?: (?:now|then|here|though|soon|everyone|right now))*"
# Said anywhere at the end they take leave, whatever came before.
_BYE = any_of(
    r"(?:good ?)?bye(?:[ -]bye)*",
    r"bye[ -]bye",
    r"buh[ -]bye",
    "farewell",
    "ciao",
    "adios",
    "so long",
    "toodle-?oo",
    "good ?night",
    "nighty night",
    "until next time",
    "till next time",
    "over and out",
    "peace out",
    "cheerio",
)
_SEE_YOU = any_of(
    rf"(?:i'?ll |we'?ll |let'?s )?(?:talk|speak|chat)(?: (?:to|with) (?:you|ya|u))?(?: guys)? {_SOON}",
    rf"(?:i'?ll )?(?:see|catch) (?:you|ya|u)(?: guys)? {_SOON}",
    "see (?:you|ya)",
    rf"(?:i'?ll )?call you(?: back)? {_SOON}",
    r"(?:you )?(?:have|enjoy) (?:a|the rest of your|your) (?:\w+ )?(?:day|night|evening|weekend|afternoon|"
    r"one|week|morning)",
    "(?:you )?take care(?: of yourself)?",
    "take it easy",
    "sleep well",
    "sweet dreams",
)
_GOING = any_of(
    rf"{_HAVE_TO} ?{_PART}{_ASIDE}",
    rf"(?:gotta|got to|have to|need to|better) {_PART}{_ASIDE}",
    r"(?:i'm|i am) (?:hanging up|heading out|off|leaving|signing off|out of here|outta here)(?: now)?",
    r"(?:it's |it is )?time (?:for me )?to (?:go|hang up|say good ?bye)(?: now)?",
    r"i'?ll let you (?:go|get back to \w+)",
    r"(?:you can |let'?s |please )hang up(?: now)?",
    r"(?:let'?s |please )?end (?:the|this) call(?: here| now)?",
    r"(?:thanks|thank you)(?: \|)? that'?s (?:all|it|everything)(?: i need(?:ed)?)?",
    r"that'?s (?:all|it|everything)(?: i (?:need(?:ed)?|have|had|wanted))?(?: for (?:now|today|me))? \|? "
    r"?(?:thanks|thank you)",
    r"that'?s (?:all|it) for (?:now|today)",
    r"that(?:'ll| will) be all",
    r"(?:it's |it was |it has been |it's been )?(?:so )?(?:nice|great|good|lovely) (?:talking|speaking|"
    r"chatting) (?:to|with) you",
)
_NAMED = (
    r"(?: (?:\| )?(?!(?:wait|but|to|is|was|what|hold|and|because|said|party|when|if|or|he|she|kiss|the|a|"
    r"i|actually|"
    r"no|not|hey|listen|stop|yet|never|why|how|can|could|do|did|one|hello|there|oh|um|uh)\b)[a-z']+)?"
)
_LEAVE = re.compile(rf"(?:^|(?<=[ |?]))(?:({_BYE}(?: for now| now| then|{_NAMED}))|({_SEE_YOU})|({_GOING}))$")
_FOR = (
    r"(?: for(?: (?!(?:what(?! you)|how(?! to)|why|when|where|but|tell|(?:can|could|would|do|did|are) you)\b)"
    r"[a-z']+){1,8})?"
)
_POLITE = re.compile(
    r"(?:^|(?<=[ |?]))"
    + any_of(
        "okay",
        "ok",
        "alright",
        "all right",
        "right",
        rf"thank(?:s| you)(?: again)?(?: so much| very much| a lot| a million)?(?: again)?{_FOR}",
        "now",
        "then",
        "dear",
        "honey",
        "buddy",
        "man",
        "my friend",
        "sir",
        "ma'am",
        "please",
        "sorry",
        "i'?m sorry",
        "(?:i )?love you",
        "you too",
        "well",
        "so",
        "um",
        "uh",
        "yeah",
        "yes",
        "sure",
        "great",
        "cool",
        "anyway",
        "too",
        "though",
        "have fun",
        "it's late",
        "for now",
        "and",
        "really",
    )
    + "$"
)
# Why they leave, said behind it: what waits for them, here and now.
_WAITS = any_of(
    r"(?:i think )?(?:(?:my|the|our|an?|another) (?:[a-z]+ ){0,2}[a-z]+|someone|somebody|dinner|lunch|breakfast"
    r"|class|work|school|it)(?:'s| is|'re| are| has| have)(?: just| already| almost| nearly| about to| going to)*"
    r" (?:here|ready|calling(?: me| for me)?|waiting(?: for me)?|outside|crying|coming(?: in| over| back)?"
    r"|leaving|arriving|arrived|boarding|start(?:ing)?|getting cold|on the table|at the door|ringing|burning"
    r"|boiling|dying|die|dead|low|empty|breaking up|going into a tunnel)(?: now)?",
    r"(?:my |the )?(?:lunch )?(?:break|time|shift)(?:'s| is) (?:over|up|starting)",
    r"(?:there is|there's) (?:someone|somebody) (?:here|at the door|calling me|on the other line)",
    r"(?:i'm|i am)(?: so| very| really| already| a bit| running| kind of)* (?:late(?: for [a-z]+)?|tired"
    r"|exhausted|sleepy|driving|at work)",
    r"(?:it's|it is)(?: getting| so| really| very)* late",
    r"(?:we're|we are|i'm|i am) (?:just )?about to (?:eat|leave|start|board|land|have (?:dinner|lunch))",
    r"(?:i have|i've got|i got)(?: (?:an?|another|to catch (?:an?|my|the)))? (?:meeting|call|appointment|class"
    r"|exam|interview|flight|train|bus|shift|date|lesson|visitors|guests|company)"
    r"(?: to catch| now| soon| in (?:a|[a-z]+) (?:bit|few|minutes?|hour))?",
)
_EXCUSE = re.compile(rf"(?:\| |(?<= )(?:because|'?cause|cuz|since|as) )(?:and |so )?{_WAITS}$")
_HABIT = re.compile(r"\bnow and (?:then|again)$")
# The leave of others, or one that is only talked about.
_REPORTED = re.compile(
    r"(?:^|[ |?])(?:say|says|said|saying|tell|tells|told|wave|waved|waving|kiss|kissed|a|an|the|his|her|"
    r"my|their|our|your|to|"
    r"of|like|no|not|don'?t|asked|wrote|called|just|she|he|they|me|without|never|with)$"
)
_CONDITION = re.compile(
    r"(?:^|[ |?])(?:when|where|why|how|if|whether|unless|until|till|before|after|while|once|whenever|that|"
    r"what|do|does|did|"
    r"should|would|could|can|must|will|because|says|said|told me|said that)$"
)
_SAFE = re.compile(
    r"(?:^|[ |?])(?:so|but|and|okay|ok|alright|right|well|now|i think|i guess|afraid|sorry|actually|"
    r"anyway|anyways|thanks|"
    r"thank you|unfortunately|because|yeah|yes|oh|um|uh|hey|listen|look|no|really|great|late|cool|sure)$"
)
_SUBORDINATE = re.compile(
    r"(?:^|[|?] ?)(?:and |but |so )?(?:when|whenever|once|unless|before|after|until|while|as soon as|"
    r"if(?! (?:you|that|it|there)\b))\b[^|?]*\| $"
)


def farewell(text: str) -> bool:
    """The caller takes leave: the turn ends with it, and nothing with content comes after it."""
    rest = clauses(text)
    if rest.endswith("?"):
        rest = re.sub(r"(?:^|(?<=[ |?]))(?:okay|ok|alright|all right|right|yeah) \?$", "", rest)
        if rest.endswith("?"):
            return False
    while rest := rest.rstrip(" |"):
        if found := _LEAVE.search(rest):
            before = rest[: found.start()]
            return _meant(before, found)
        behind = None if _HABIT.search(rest) else _POLITE.search(rest) or _EXCUSE.search(rest)
        if behind is None:
            return False
        rest = rest[: behind.start()]
    return False


def _meant(before: str, found: re.Match[str]) -> bool:
    """Whether a leave after these words is the caller's own, here and now."""
    words = before.rstrip(" |")
    if words.endswith(("said", "says", "told", "like")):
        return False
    apart = not words or before.rstrip(" ").endswith(("|", "?"))
    if found[1]:
        return apart or not _REPORTED.search(words)
    if _SUBORDINATE.search(before):
        return False
    if found[2]:
        return apart or not (_REPORTED.search(words) or _CONDITION.search(words))
    return apart or (_SAFE.search(words) is not None and not _CONDITION.search(words)) or _leaves(words)


def _leaves(words: str) -> bool:
    """Whether a leave that is followed by another stands at the end of these words."""
    return _LEAVE.search(words.rstrip(" |")) is not None


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
        r"(?:m{2,}|m*h+m+)(?:[- ](?:m{2,}|m*h+m+))+",
        r"u[hm]+[- ]?h+u?m+",
        r"(?:u+n?h+|a+h+)(?:[- ]?hu+n?h+)+",
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
