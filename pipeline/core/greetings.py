"""What machines say when they answer, and how it is known that no person does.

Each is a predicate on the words of one turn, transcribed with punctuation or without. English only; what is in
doubt is said by a person. Long because most of it is tables of phrases.
"""

from __future__ import annotations

import re

from pipeline.core.wording import any_of, clauses, plain

_TONE = r"(?:the |a )?(?:sound of the )?(?:tone|beep)"
_DIALLED = (
    r"the (?:person|party|customer|subscriber|number|user|caller|wireless customer|google subscriber|"
    r"mailbox|extension)"
    r" (?:that )?(?:you|you've|you're|youre)\b"
)
_SHORT_MESSAGE = r"(?:an? |your )(?:brief |short |detailed |quick |voice )*(?:message|voicemail)"
_MACHINE = re.compile(
    any_of(
        rf"\b(?:after|at|until you hear|wait for) {_TONE}\b",
        rf"{_DIALLED}.{{0,40}}(?:not available|unavailable|cannot|can't|has not|not in service|trying to "
        rf"reach|(?:is|are) not)",
        rf"{_DIALLED} (?:(?:are|were|have been|have) )?trying to (?:reach|call)",
        r"\b(?:not available|unavailable|not able|unable|away|can't|cannot|can not|can't "
        r"come)\b.{0,40}\b(?:to|take|answer|from)"
        r".{0,12}\b(?:your call|phone|my desk)\b.{0,60}\b(?:leave|record|message|tone|beep|name|get back|"
        r"return|call (?:you )?back)",
        r"\bi(?:'m sorry i)?(?: am|'m)? (?:can't|cannot|can not|unable to|not able to) "
        r"(?:come to the phone|take your call|answer (?:the|my) phone)",
        r"\b(?:is|are) (?:not available|unavailable|not able to take|unable to take|not here) (?:right "
        r"now |at the moment |to )?"
        r"\|? ?(?:please |to take your call|take your call|at the tone|leave a|record)",
        r"^(?:\w{1,9} ){7,12}is (?:not available|unavailable)",
        r"^is (?:not available|unavailable)$",
        r"\b(?:you've|you have|youve) reached (?!.*\b(?:speaking|help you|i help|a decision|the end|your "
        r"limit|my limit)\b)"
        r"(?:the )?(?:voice ?mail|voice message|mailbox|answering|office|home|desk|residence|cell|phone|"
        r"personal|automated)",
        r"^(?:hi |hello |hey |thank you for calling )?\|? ?(?:this is \w+ \|? ?)?(?:you've|you have|"
        r"youve) reached "
        r"(?!.*\b(?:speaking|help|a|the|my|your|me|us)\b)",
        r"\brecord (?:your|a) (?:message|greeting)",
        r"\b(?:automated|automatic) voice (?:message|messaging|mail)",
        r"\bforwarded to (?:an? )?(?:automat|voice ?mail|voice mess)",
        r"\bwhen you(?:'ve| have| are|'re)? (?:finish|finished|done) (?:recording)?",
        r"\bpress (?:1|one|pound|the pound)\b",
        r"\bto (?:leave a callback number|page this person|send a numeric page)",
        rf"^(?!.*\b(?:can|could|would|will|should) (?:you|i)\b)(?:.* )?please \|? ?(?:leave|record) (?:me "
        rf"|us )?{_SHORT_MESSAGE}"
        r"(?!.* (?:sometime|if|with him|with her|for him|for her|on my)\b)",
        rf"\bleave (?:me |us )?{_SHORT_MESSAGE} \|? ?(?:and|with your)? ?\|? ?(?:i'll|i will|we'll|we "
        rf"will|your name)",
        r"\bleave your name (?:\| )?(?:and|number|phone|with|a )",
    )
)
_FULL = re.compile(
    any_of(
        r"(?<!\bmy )(?<!\byour )(?<!\bour )\b(?:mail ?box|voice mail|voice ?mail ?box|voice mail box|"
        r"memory) (?:\w+ ){0,4}?is "
        r"(?:currently |now )?full\b(?! of)",
        r"(?<!\bmy )(?<!\byour )\b(?:mail ?box|voice ?mail|voice ?mail box)(?: that)? (?:has not been|"
        r"hasn't been|is not|has not yet been|"
        r"that has not been) (?:yet )?(?:set up|setup|initialized|activated)",
        r"\b(?:cannot|can't|can not|not able to|unable to|not|does not|no longer) (?:accept|accepting|"
        r"accepts|take|record|receive)"
        r"(?: any)?(?: new| more)? messages",
    )
)
_SCREENING = re.compile(
    any_of(
        r"\brecord your name\b",
        r"\b(?:state|say|give) your (?:full )?name (?:\| )?and\b",
        r"\bplease (?:say|state) your name\b",
        r"\bscreening service\b",
        r"\bcall screening\b",
        r"\b(?:using|is using|with) (?:a |an )?(?:google )?(?:call )?screen(?:ing|er)\b",
        r"\bcall assist(?:ant)?\b.{0,40}\b(?:name|calling)",
        r"\bthe person you(?:'re| are|re) calling (?:is screening|will get|is using|will be)",
        r"\bi(?:'ll| will) see if (?:this person|the person|they're|they are)(?: is)?(?: you're "
        r"calling)?(?: is)? available",
        r"\bbefore i (?:try to )?connect you\b",
        r"^(?:thank you |thanks |okay |great )?\|? ?(?:please )?stay on the line$",
        r"^(?:thank you |thanks )?\|? ?(?:please )?(?:hold|stay on the line) (?:\| )?while i (?:try|see|"
        r"check|connect)",
        r"\bget a copy of this conversation\b",
        r"\bgo ahead and say your name\b",
    )
)


def machine(text: str) -> bool:
    """The greeting of an answering machine or of a network, not of a person."""
    said = clauses(text)
    if _SCREENING.search(said):
        return False
    bare = said.replace("| ", "")
    return any(kind.search(form) for kind in (_MACHINE, _FULL) for form in (said, bare))


def mailbox_full(text: str) -> bool:
    """A machine that takes no message."""
    return _FULL.search(plain(text)) is not None


def screening(text: str) -> bool:
    """An assistant that asks who is calling before it puts the call through."""
    return _SCREENING.search(clauses(text)) is not None or _SCREENING.search(plain(text)) is not None
