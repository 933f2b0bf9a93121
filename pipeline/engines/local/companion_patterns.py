"""The word patterns the rule-based companion knows: data only, read by `companion_reading.py`.

Each name has alternatives; the case of letters does not matter. The order of the topics
is theirs in importance where `WEIGHTY` names them; otherwise the one mentioned first counts.
"""

from __future__ import annotations

from collections.abc import Mapping

INTENTS: Mapping[str, tuple[str, ...]] = {
    "crisis": (
        "kill(ing)? myself",
        r"suicid\w*",
        "want to die",
        "end my life",
        "hurt(ing)? myself",
        "self.?harm",
    ),
    "emergency": (
        "chest pain",
        "can'?t breathe",
        "call (911|an ambulance)",
        "(house|kitchen) is on fire",
        "break(ing)? into my",
    ),
    "bye": (
        r"\b(?:good ?bye|bye|good night|(have|got|need) to go( now)?$|got to run|gotta go)\b",
        r"\b(?:talk (to you )?(later|soon)|see you (later|soon|tomorrow)|hang up)\b",
    ),
    "repeat": (
        "what did you( just)? say",
        "(say|repeat) (that|it)( again)?",
        "didn'?t (catch|hear|get) (that|you)",
        "^pardon",
        "^(sorry )?what$",
        "can'?t hear you",
        "come again",
    ),
    "unclear": (
        "what do you mean",
        "(don'?t|do not) understand",
        "makes? no sense",
        "i'?m (confused|lost)",
        "what are you talking about",
    ),
    "honest": (
        "are you (a |an )?(real|human|robot|bot|machine|computer|ai|person|program|recording|alive)",
        "am i (talking|speaking) to (a|an) ",
        "artificial intelligence",
    ),
    "who": (
        "who (is this|are you|am i (talking|speaking))",
        "what('?s| is) your name",
        "who'?s (this|calling|there)",
    ),
    "body": (
        "(do|can|did) you (eat|sleep|feel|dream|drink|see me|breathe)",
        "do you have (feelings|a body|a family|kids|children|a job)",
        "how old are you",
        "where (do you live|are you( from)?$)",
        "are you (married|single|hungry|tired)",
        "what did you do (today|yesterday|this)",
    ),
    "myname": (
        "what('?s| is) my name",
        "do you know (my name|who i am)",
    ),
    "remember": (
        "(do|did|can) you remember",
        "remember (me|when|what|that|my)",
        "did i tell you",
        "what do you know about me",
        "last time",
    ),
    "hobbies": (
        "(do|did) you (have any hobb|have (a )?hobb|like |enjoy|love )",
        "what do you (like|enjoy|do)",
        "your (favou?rite|hobb)",
        "about yourself",
        "what (are you into|makes you)",
    ),
    "weakness": ("weakness",),
    "strength": (
        r"\bstrengths?\b",
        "good at",
    ),
    "joke": (
        r"\bjokes?\b",
        "make me laugh",
        "something funny",
        "cheer me up",
    ),
    "story": (
        r"\b(a|another) (short )?story\b",
        "tell me something( interesting)?$",
    ),
    "time": (
        "what time is it",
        "what('?s| is) the time",
        "what day is",
        "what('?s| is) the date",
    ),
    "mayask": (
        "(can|may|could) i ask( you)?",
        "(have|got|'?ve) (a|another|one( more)?) question",
        "ask you something",
    ),
    "advice": (
        "what (should|shall|can|do) i (say|do|wear|try|tell)",
        "should i",
        "any (advice|ideas?|tips?|suggestions?)",
        "help me",
        "what would you (do|say|suggest)",
        "how (do|can|should) i",
        "(need|want|give me)( some| your)? (advice|help|tips)",
        "what do you (think|suggest|recommend)",
    ),
    "thanks": (r"\b(?:thank(s| you)|cheers|appreciate)\b",),
    "praise": (
        "(good|great|nice|brilliant|lovely) (idea|point|one|advice|thinking)",
        "(you'?re|you are|that'?s|that was) (so |very |really )?(funny|nice|kind|sweet|helpful|smart|clever|great)",
        "(helps|helped) (a lot|me)",
        "i like (that|talking|you)",
    ),
    "insult": (r"\b(?:stupid|useless|idiot|shut up|boring|annoying|hate you|you suck)\b",),
    "howareyou": (
        "how('?re| are) you",
        "how('?s| is) it going",
        "how have you been",
        "what'?s up",
        "how do you do",
        "how('?s| is) your (day|week)",
        "you (okay|alright)$",
    ),
    "sorry": (r"^(oh )?(i'?m )?(so )?sorry\b",),
    "yes": (
        r"^(yes|yeah|yep|yup|sure|of course|definitely|absolutely|exactly|true)\b( \w+)?( \w+)?$",
        r"^(i do|i am|i did|i have)( \w+)?$",
    ),
    "no": (
        r"^(no|nope|nah|not really|never|i don'?t|i'?m not|i haven'?t|not yet|not at all)\b( \w+)?( \w+)?$",
    ),
    "maybe": (
        r"^(maybe|perhaps|i guess( so)?|possibly|kind of|sort of|not sure|i'?m not sure|i don'?t know)\b",
    ),
    "ack": (
        r"^(okay|ok|alright|right|i see|mm+|mm-?hmm+|m+hm+|uh-?huh|hm+|got it|fine|cool|great|good)\b( \w+)?$",
    ),
    "smalltalk": (
        "^(?:nothing|not much|nothing much|same as (always|usual))",
        "^(?:just (sitting|hanging|chilling|relaxing))",
    ),
    "greeting": (
        r"\b(?:hi|hello|hey|hiya|good (morning|afternoon|evening)|howdy)\b",
        "^this is [a-z]+$",
    ),
}
"""What a turn asks for or does."""

FEELINGS: Mapping[str, tuple[str, ...]] = {
    "nervous": (
        "nervous",
        "anxious",
        "worr(y|ied)",
        "scared",
        "afraid",
        "terrified",
        r"panick?\w*",
        "freak(ed|ing)? out",
    ),
    "stressed": (
        r"stress\w*",
        r"overwhelm\w*",
        "too much",
        "burn(ed|t)? out",
        "under pressure",
    ),
    "sad": (
        r"\b(?:sad|down|depressed|unhappy|miserable|crying|cried|heartbroken|awful|terrible)\b",
        "miss (him|her|them|my)",
        "passed away",
        r"(got|was|been) fired",
        "lost my job",
        "died",
        "broke up",
        "not (so |doing )?(good|great|well)",
        "feel(ing)? (bad|low)",
    ),
    "lonely": (
        "lonely",
        "alone",
        "nobody",
        "no one",
    ),
    "angry": (r"\b(?:angry|mad|furious|annoyed|frustrat\w+|fed up|unfair|yell\w*|shouted)\b",),
    "tired": (
        "tired",
        "exhausted",
        "sleepy",
        "long day",
        "worn out",
        "can'?t sleep",
        "didn'?t sleep",
    ),
    "sick": (r"\b(?:sick|ill|a cold|flu|headache|fever|hurts?)\b",),
    "bored": (
        r"\bbored\b",
        "nothing to do",
    ),
    "proud": (
        r"\bproud\b",
        "i (won|passed|made it|got the|did it|finished)",
        "got (promoted|accepted|a raise)",
    ),
    "happy": (
        r"\b(?:happy|excited|thrilled|great|wonderful|amazing|fantastic|glad|awesome|pretty good)\b",
        "can'?t wait",
        r"(i'?m|i am|doing|feeling) (so |really |very )?(good|well|fine|okay)\b",
    ),
}

TOPICS: Mapping[str, tuple[str, ...]] = {
    "interview": (r"\binterview\w*",),
    "exam": (r"\b(?:exam|exams|test|finals|homework|study|studying|school|college|university|class)\b",),
    "wedding": (r"\b(?:wedding|married|marry|marrying|bride|groom|engaged)\b",),
    "bakery": (r"\b(?:bakery|baking|baker|bake|bread|cakes?)\b",),
    "work": (
        r"\b(?:work|working|job|boss|office|colleague\w*|coworker\w*|meeting|project|career|shift)\b",
        r"\b(?:deadline)\b",
    ),
    "pet": (r"\b(dog|cat|puppy|kitten|pet|hamster|parrot|rabbit)s?\b",),
    "family": (
        r"\b(?:sister|brother|mother|father|mom|mum|dad|parents?|kids?|son|daughter|grand\w+|family)\b",
        r"\b(?:uncle|aunt|cousin)\b",
    ),
    "love": (r"\b(?:boyfriend|girlfriend|husband|wife|partner|date|dating|crush|love)\b",),
    "travel": (r"\b(?:travel\w*|trip|vacation|holidays?|flight|flying|beach|abroad|airport|hotel)\b",),
    "food": (r"\b(?:cook\w*|dinner|lunch|breakfast|pizza|pasta|recipe|restaurant|food|eat\w*|coffee|tea)\b",),
    "music": (r"\b(?:music|song|songs|guitar|piano|band|concert|sing|singing|album|drums|violin)\b",),
    "screen": (r"\b(?:movie|film|show|series|book|novel|reading|episode|netflix)\b",),
    "sport": (
        r"\b(?:run|running|gym|football|soccer|basketball|tennis|swim\w*|yoga|workout|hike|hiking)\b",
        r"\b(?:marathon|bike|cycling)\b",
    ),
    "tech": (r"\b(?:computer|phone|laptop|code|coding|software|app|game|games|internet|wifi)\b",),
    "garden": (r"\b(?:garden\w*|plants?|flowers?|tomatoes|roses)\b",),
    "weather": (r"\b(?:weather|rain\w*|snow\w*|sunny|storm|cold outside|hot outside)\b",),
    "home": (r"\b(?:house|apartment|flat|moving|move|neighbou?rs?|roommate|kitchen|clean\w*)\b",),
    "money": (r"\b(?:money|rent|bills?|expensive|savings?|debt|salary)\b",),
    "weekend": (r"\b(?:weekend|saturday|sunday|party|birthday)\b",),
    "friend": (r"\b(?:friends?|buddy|best friend)\b",),
}

NOUNS: Mapping[str, str] = {
    "interview": "the interview",
    "exam": "the exam",
    "wedding": "the wedding",
    "bakery": "the bakery",
    "work": "work",
    "pet": "your pet",
    "family": "your family",
    "love": "that person",
    "travel": "the trip",
    "food": "the food",
    "music": "the music",
    "screen": "the story",
    "sport": "the training",
    "tech": "the machine",
    "garden": "the garden",
    "weather": "the weather",
    "home": "your place",
    "money": "the money",
    "weekend": "the weekend",
    "friend": "your friend",
}
"""How a topic is spoken of when the caller names no owner."""

WEIGHTY = ("interview", "wedding", "bakery")
"""Topics that count wherever in the turn they come."""
