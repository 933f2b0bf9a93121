"""Whether the caller takes leave with these words, here and now, and nothing of content comes behind it.

The words are those of one turn, transcribed with punctuation or without. What follows from it is decided where
it is asked for. English only; a leave in doubt is none. Most of it is tables of phrases.
"""

from __future__ import annotations

import re

from pipeline.core.wording import any_of, clauses

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
