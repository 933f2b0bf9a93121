"""How the rule-based companion leads on: data only.

The rules of `companion_lines.py` hold.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.engines.local.companion_lines import Lines

ASKS: Mapping[str, Lines] = {
    "greeting": {
        "warm": ("How are you feeling today?", "What's on your mind?"),
        "upbeat": ("What are we tackling today?", "What's the plan?"),
        "dry": ("What's broken?", "What can I do for you?"),
    },
    "unclear": {
        "any": ("Shall we go back to what you were telling me?", "What would you like to talk about?")
    },
    "honest": {"any": ("Does that bother you?", "Is it still all right to chat?")},
    "who": {"any": ("How are you doing?", "What shall we talk about?")},
    "body": {"any": ("What about you?", "What's it like for you?")},
    "myname": {"any": ("How are you today?", "Is that what friends call you?")},
    "remember": {"any": ("How is that going now?", "What has happened since?")},
    "forgotten": {"any": ("Would you fill me in?", "What should I write down?")},
    "hobbies": {
        "any": ("What do you like to do?", "How did you find your own hobby?", "What could you do all day?")
    },
    "weakness": {"any": ("What would be yours, if you're honest?", "Want to try that sentence on me?")},
    "strength": {"any": ("What would your story be?",)},
    "joke": {"any": ("Do you know a better one?", "Too much?", "Another one?")},
    "story": {"any": ("Do you have a story for me?", "What do you make of it?")},
    "time": {"any": ("Are you in a hurry?", "Do you have somewhere to be?")},
    "mayask": {"any": ("What is it?", "What would you like to know?", "What's the question?")},
    "advice": {
        "any": (
            "Which part is the hardest?",
            "What have you tried so far?",
            "What does your gut say?",
            "Could that work for you?",
        )
    },
    "thanks": {
        "any": (
            "Is there anything else on your mind?",
            "What else can we look at?",
            "How do you feel about it now?",
        )
    },
    "praise": {"any": ("Will you try it?", "When could you start?", "What would be the first step?")},
    "insult": {"any": ("What would help more?", "Shall we start over?")},
    "howareyou": {"any": ("And how are you, really?", "What about you?")},
    "sorry": {"any": ("What is it?", "Where were we?")},
    "maybe": {"any": ("What would make it clearer?", "What would tip the scales?")},
    "smalltalk": {"any": ("What would make today a little better?", "Did anything make you smile today?")},
    "nervous": {"any": ("What worries you most about it?", "What would help you feel calmer?")},
    "stressed": {"any": ("What could wait until tomorrow?", "Which one thing weighs the most?")},
    "sad": {"any": ("Do you want to tell me about it?", "Who else knows how you feel?")},
    "lonely": {"any": ("Who would you like to hear from?", "When did you last see a friend?")},
    "angry": {"any": ("What happened exactly?", "What would make it right?")},
    "tired": {"any": ("What wore you out?", "Can you rest tonight?")},
    "sick": {"any": ("Is someone looking after you?", "Do you have all you need?")},
    "bored": {"any": ("What did you enjoy as a child?", "When did you last try something new?")},
    "proud": {"any": ("How did you do it?", "Who did you tell first?")},
    "happy": {"any": ("What made the difference?", "What's the best part?")},
    "interview": {
        "any": (
            "What kind of job is it?",
            "What would you like them to know about you?",
            "How are you preparing?",
        )
    },
    "exam": {"any": ("Which subject is it?", "How do you like to study?")},
    "wedding": {"any": ("Will you have a part in it?", "What are you looking forward to most?")},
    "bakery": {"any": ("What do you like about baking?", "What drew you to it?", "Do you bake at home?")},
    "work": {"any": ("What do you do there?", "What's the best part of it?", "How are the people?")},
    "pet": {"any": ("What's the funniest thing they do?", "How long have you had them?")},
    "family": {"any": ("How do you feel about that?", "Are you close?", "What are they like?")},
    "love": {"any": ("How does that make you feel?", "How did you two meet?")},
    "travel": {"any": ("Where would you go first?", "Who is coming along?")},
    "food": {"any": ("What's your favorite dish?", "Do you like to cook?")},
    "music": {"any": ("What do you listen to lately?", "How did you get into it?")},
    "screen": {"any": ("What do you like about it?", "Who's your favorite character?")},
    "sport": {"any": ("How often do you get to do it?", "How do you feel afterwards?")},
    "tech": {"any": ("What does it do?", "Did you try the obvious thing?")},
    "garden": {"any": ("What are you growing?", "What's in bloom now?")},
    "weather": {"any": ("Does it change your mood?", "What do you do on days like that?")},
    "home": {"any": ("What would you change first?", "Who lives there with you?")},
    "money": {"any": ("What would take the pressure off?", "What's the biggest item?")},
    "weekend": {"any": ("What's the plan?", "Who will be there?")},
    "friend": {"any": ("How did you meet?", "What do you do together?")},
    "plan": {"any": ("What's your first step?", "When do you start?", "What do you hope comes of it?")},
    "past": {"any": ("How was that for you?", "What happened then?", "What stayed with you?")},
    "question": {"any": ("What do you think?", "What made you wonder?", "Where could we find out?")},
    "other": {
        "warm": (
            "How do you feel about {earlier} now?",
            "What matters most to you there?",
            "What happened next?",
            "How did that feel?",
            "What would you like to happen?",
            "Who was there with you?",
            "Tell me a little more?",
        ),
        "upbeat": (
            "What's your next move with {earlier}?",
            "What would a win look like?",
            "What's one small step?",
            "How can you make it even better?",
            "Who's on your team for that?",
            "On a scale of one to ten?",
            "What's stopping you?",
        ),
        "dry": (
            "And how is {earlier} taking it?",
            "Was that the plan?",
            "How did that go, honestly?",
            "What could possibly go wrong?",
            "Whose idea was it?",
            "What's the sensible option?",
            "Is there more, or is that the twist?",
        ),
    },
}

ALONE = frozenset({"bye", "crisis", "emergency", "repeat"})
"""Intents whose answer is not followed by a question."""

SCENARIO_ASKS: Mapping[str, tuple[str, ...]] = {
    "interviewer": (
        "Could you tell me about yourself in a few sentences?",
        "Why would you like this job?",
        "What is a problem you solved recently?",
        "What is one thing you are still learning?",
        "Where would you like to be in three years?",
        "Is there anything you would like to ask?",
    ),
    "rescue": (
        "Can you say out loud that you have to leave?",
        "The key broke off in my lock, can you come over?",
        "Do you have your coat already?",
        "Can you be here in ten minutes?",
    ),
    "checkin": (
        "What did you mean to get done?",
        "What actually happened?",
        "What is the very next step?",
        "When exactly will you do it?",
        "Will you promise me that in your own words?",
    ),
    "wakeup": (
        "Can you sit up for me?",
        "Are your feet on the floor?",
        "Can you open the curtains?",
        "What is the first thing you do today?",
        "Are you standing now?",
    ),
}
"""Questions of the seeded scenarios, in order; they take the place of others."""

OPENERS: Mapping[str, tuple[str, ...]] = {
    "warm": (
        "Let me stay with that",
        "I keep thinking of what you said",
        "Let's slow down a moment",
        "That stays with me",
        "I'd like to understand",
    ),
    "upbeat": ("Let's dig in", "Stay with me", "Quick round", "Next one", "Let's keep the ball rolling"),
    "dry": (
        "Different angle",
        "For the record",
        "Humor me",
        "Purely out of curiosity",
        "While we have the line",
    ),
}
CLOSERS: tuple[str, ...] = (
    "what would you do first?",
    "what would make you smile?",
    "what do you want most?",
    "who could help?",
    "what's changed lately?",
    "what would you tell a friend?",
    "what are you looking forward to?",
    "what was the best part of today?",
    "what surprised you?",
    "what would you do differently?",
    "what's still missing?",
    "what's the story behind it?",
)
"""When every fitting line was said: an opener and a closer that were not joined yet."""
