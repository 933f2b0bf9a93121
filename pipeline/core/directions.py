"""Takes out stage directions, `*laughs*`, `(sighs)`, `[pause]`: what a model plays and does not say.

Other words in such marks stay as they are: `*really*` is stressed, `(which opens at nine)` is an aside. What
tells them apart is what is said, and where: a direction stands where a clause begins or a sentence ends, and
says what somebody does, in the third person. English only; what is in doubt is spoken.
"""

from __future__ import annotations

import re

from pipeline.core.numerals import ONES, SCALES, TENS, listed
from pipeline.core.wording import any_of

# -- what is played --------------------------------------------------------------------

# Nobody puts these between such marks but to play them.
_DOES = (
    r"(?:laugh|chuckl|giggl|sigh|gasp|cough|sniffl?|sob|groan|moan|yawn|snort|gulp|humm?|whisper|smil|grinn?|smirk|"
    r"wink|nodd?|shrugg?|blush|paus|breath|exhal|inhal|scoff|mumbl|mutter|murmur|clapp?|hesitat|pout|frown|cackl|"
    r"snicker|wheez|think|cr)(?:e?s|ies|ing|ying)"
)
_SOUND = (
    r"(?:pause|beat|sigh|gasp|cough|laughter|laugh|chuckle|giggle|sniff|sniffle|wink|gulp|yawn|applause|silence|"
    r"smile|grin|breath|ahem)"
)
_MANNER = (
    r"(?:softly|quietly|gently|warmly|excitedly|playfully|cheerfully|thoughtfully|nervously|sarcastically|jokingly|"
    r"teasingly|sheepishly|brightly|deeply|heavily|lightly|happily|sadly|awkwardly|knowingly|dramatically|slowly|"
    r"enthusiastically|tightly|shyly)"
)
_KIND = (
    r"(?:long|short|brief|deep|soft|light|small|slight|heavy|nervous|awkward|big|warm|happy|sad|little|dramatic|low|"
    r"hushed|gentle|quiet|calm|cheerful|playful|teasing|mock|serious|singsong|bright|sly|knowing|shy|wide|wry)"
)
_ACT = (
    rf"(?:{_MANNER} |still )?{_DOES}(?: {_MANNER})?|(?:an? )?(?:{_KIND} )?{_SOUND}"
    r"|clear(?:s|ing) (?:my |his |her |their |its )?throat|tak(?:es|ing) an? (?:deep )?breath"
)
_IN_A_VOICE = rf"(?:with|in) (?:an? )?(?:{_KIND} )*(?:{_SOUND}|voice|tone|whisper|nod|shrug|look|accent)"
# With whatever follows them they are played too.
_GESTURES = any_of(
    *listed("""adjusts waves hugs leans tilts glances rubs stares gazes winces blinks bows curtsies salutes fidgets pats
    shivers trembles facepalms snuggles cuddles nudges pokes twirls""")
)
# Between stars more is, for there a clause of its own is hardly ever stressed.
_MOVES = any_of(
    *listed("""looks
    takes raises lifts rolls shakes turns pulls pushes stretches squeezes tickles kisses blows beams squints
    flinches cringes taps drums scratches strokes clears crosses uncrosses folds perks straightens slumps plops sits
    stands paces walks strolls hops jumps bounces dances spins swings steps reaches grabs holds picks places puts sets
    pours sips drinks eats chews bites licks swallows sneezes whistles sings growls purrs howls squeals screams cheers
    whimpers weeps points gestures beckons snaps tosses throws types scribbles writes peers peeks tugs kneels ducks
    hides wipes brushes tucks polishes gives makes stifles opens closes moves runs""")
)
_NUMBER = any_of(*ONES, *TENS, *(name for name, _ in SCALES), "once", "twice", "half", "dozen")
_NO_FIGURE = rf"(?!.*(?:\d|\b{_NUMBER}\b))"
_PLAYED = re.compile(rf"(?:{_ACT}|{_MANNER}|{_IN_A_VOICE})[.!,… ]*", re.IGNORECASE)
_PLAYED_SHORT = re.compile(rf"(?:{_ACT})[.!,… ]*", re.IGNORECASE)
_PLAYED_LONG = re.compile(rf"(?:{_ACT}|{_DOES}(?:,? \S+){{0,12}})[.!,… ]*", re.IGNORECASE)
_PLAYED_ASIDE = re.compile(rf"{_GESTURES}(?: [a-z']+){{0,3}}[.!,… ]*", re.IGNORECASE)
_GESTURED = re.compile(
    rf"(?:{_MANNER} )?(?:{_GESTURES}|waving|leaning|looking|adjusting|tilting|hugging)(?:,? \S+){{0,12}}[.!,… ]*",
    re.IGNORECASE,
)
# The same verbs tell what a thing is or does. In capitals they are a title or a sentence, and no play has figures.
_MOVED = re.compile(rf"{_NO_FIGURE}(?:{_MANNER} )?{_MOVES}(?:,? \S+){{0,12}}[.!,… ]*")
# Of verbs that nobody has listed the form tells: they begin in lower case where a sentence begins.
_THIRD_PERSON = re.compile(
    rf"{_NO_FIGURE}"
    r"(?!(?:is|was|has|does|this|his|its|as|us|yes|always|sometimes|perhaps|unless|thus|plus|besides|towards"
    r"|afterwards|nowadays|thanks|lots|loads|tons|news)\b)[a-z]{2,}[^'su]s(?! (?:and|or|of|are|were|like|have)\b)"
    r"(?:,? \S+){1,12}"
)

# -- where -----------------------------------------------------------------------------

STARRED = re.compile(r"(?<!\w)([*_]{1,3})([^*_\n]{1,80})\1(?!\w)")
_BRACKETED = re.compile(r"\(([^()\[\]]{0,40})\)|\[([^()\[\]]{0,40})\]")
_BEGUN_STAR = re.compile(r"(?<!\w)[*_]{1,3}([^*_\n]{1,80})$")
_SENTENCE_OVER = re.compile(r"(?:^|[.!?…][\"”')]*)\s*$")
_CLAUSE_OVER = re.compile(
    r"(?:^|[.!?…,;:—–-][\"”')]*|\b(?:well|oh|ah|hi|hey|hello|yes|yeah|no|okay|so|um|uh|hmm|sure|aw))\s*$",
    re.IGNORECASE,
)
_EXPLAINED = re.compile(r":\s*$")
_SENTENCE_ENDS = re.compile(r"\s*(?:$|[.!?…*_]|[\"“]?[A-Z])")
_MAY_END = re.compile(r"\b(?:you|me|us|there|here|now|today|again|too|much|later|tomorrow|back|then)\s*$")


def _starred(match: re.Match[str]) -> str:
    return " " if _directs(match) else match[0]


def _directs(match: re.Match[str]) -> bool:
    said, before, after = match[2].strip(), match.string[: match.start()], match.string[match.end() :]
    begins = _SENTENCE_OVER.search(before) is not None
    if begins and _PLAYED.fullmatch(said):
        return True
    if len(match[1]) > 1:
        return _PLAYED_SHORT.fullmatch(said) is not None
    if _PLAYED_LONG.fullmatch(said):
        return True
    ends = _SENTENCE_ENDS.match(after) is not None
    if _GESTURED.fullmatch(said) and _CLAUSE_OVER.search(before) and (said[0].islower() or (begins and ends)):
        return True
    if not ends:
        return False
    if begins:
        return _MOVED.fullmatch(said) is not None or _THIRD_PERSON.fullmatch(said) is not None
    if _MOVED.fullmatch(said):
        may_stand = _CLAUSE_OVER.search(before) and not _EXPLAINED.search(before)
        return bool(may_stand or _MAY_END.search(before))
    return _GESTURED.fullmatch(said) is not None and _MAY_END.search(before) is not None


def _bracketed(match: re.Match[str]) -> str:
    said = (match[1] or match[2] or "").strip()
    return " " if not said or _PLAYED.fullmatch(said) or _PLAYED_ASIDE.fullmatch(said) else match[0]


def without_directions(text: str) -> str:
    """The text without directions; other things in such marks stay, with their marks."""
    if "*" in text or "_" in text:
        text = STARRED.sub(_starred, text)
    return _BRACKETED.sub(_bracketed, text) if "(" in text or "[" in text else text


def without_begun_direction(text: str) -> str:
    """The text without a direction at its end that breaks off."""
    begun = _BEGUN_STAR.search(text)
    if begun is None:
        return text
    said = begun[1].strip()
    before = text[: begun.start()]
    played = _PLAYED_LONG.fullmatch(said) or _GESTURED.fullmatch(said)
    moved = _MOVED.fullmatch(said) and not _EXPLAINED.search(before)
    return before if played or moved else text
