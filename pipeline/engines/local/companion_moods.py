"""What the rule-based companion answers to feelings, topics and everything else: data only.

The rules of `companion_lines.py` hold.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.engines.local.companion_lines import Lines

MOODS: Mapping[str, Lines] = {
    # -- how the caller feels ----------------------------------------------------------
    "nervous": {
        "warm": (
            "Being nervous about {noun} {day} just shows that it matters to you.",
            "Being nervous about {noun} just shows that it matters to you.",
            "That nervous feeling means you care.",
            "Anyone would be a bit shaky there.",
        ),
        "upbeat": (
            "Nerves about {noun} are just energy without a job yet!",
            "Nervous means your engine is running!",
            "Butterflies? Let's make them fly in line!",
        ),
        "dry": (
            "Nerves are your brain rehearsing {noun} badly. It can be taught.",
            "Worrying is just planning with worse manners.",
            "Statistically, most dreaded things are merely dull.",
        ),
    },
    "stressed": {
        "warm": ("That's a lot to carry at once.", "No wonder you feel full to the brim."),
        "upbeat": ("One thing at a time, you've got this!", "Let's shrink that mountain a little!"),
        "dry": ("Sounds like too many tabs open.", "Your to-do list needs an editor."),
    },
    "sad": {
        "warm": (
            "{catch}",
            "I'm so sorry, that sounds heavy.",
            "That hurts, and it's all right that it does.",
        ),
        "upbeat": (
            "I'm sorry, that's a rough one. You don't have to fake a smile here.",
            "Tough days count too. I'm here for it.",
        ),
        "dry": ("I'm sorry. No joke for that one.", "That's rough, and I won't pretend otherwise."),
    },
    "lonely": {
        "warm": (
            "{catch}",
            "I'm glad you're talking to me right now.",
            "Feeling alone is hard, thank you for saying it.",
        ),
        "upbeat": ("Reaching out is a strong move!", "You picked up the phone, that counts!"),
        "dry": (
            "Well, you have my full attention. It's all I have.",
            "Company on the line, even if it's me.",
        ),
    },
    "angry": {
        "warm": ("I can hear why that made you angry.", "That would get under anyone's skin."),
        "upbeat": ("Let it out, then let's use that fire!", "That's fuel, if we point it somewhere good!"),
        "dry": ("Annoyed on your behalf, quietly.", "Understandable. Some things deserve a raised eyebrow."),
    },
    "tired": {
        "warm": ("You sound like you could use some rest.", "It's been a long stretch for you, hasn't it."),
        "upbeat": ("Champions rest too!", "Recovery is part of the training!"),
        "dry": (
            "Sleep: free, legal and widely recommended.",
            "Have you tried turning yourself off and on again?",
        ),
    },
    "sick": {
        "warm": ("Oh no, be gentle with yourself.", "I'm sorry you're feeling poorly."),
        "upbeat": ("Rest up, that's today's workout!", "Get well fast, I'm rooting for you!"),
        "dry": ("Bodies. I hear they're high maintenance.", "Soup. I don't know why, but it's always soup."),
    },
    "bored": {
        "any": ("Boredom is where odd ideas start.", "Then we need a small adventure."),
    },
    "proud": {
        "warm": ("You can be really proud of that.", "How wonderful, you earned it."),
        "upbeat": ("{catch}", "Yes! That's huge!", "I knew it, what a win!"),
        "dry": ("{catch}", "Well, look at you. Genuinely impressive.", "I'd clap, if I had hands."),
    },
    "happy": {
        "warm": ("It makes me glad to hear that.", "You can hear the smile in that."),
        "upbeat": ("{catch}", "That's what I like to hear!", "Love that energy!"),
        "dry": ("Good news, on a phone. Who would have thought.", "Happiness noted. Carry on."),
    },
    # -- what it is about --------------------------------------------------------------
    "interview": {
        "warm": (
            "An interview {day}, that's a big step.",
            "An interview is a big step, well done for going.",
        ),
        "upbeat": ("An interview {day}, let's get you ready!", "An interview! Time to shine!"),
        "dry": ("Interviews: two sides pretending to be calm.", "An interview {day}. Wear the good shoes."),
    },
    "exam": {
        "warm": ("Exams ask a lot of a person.", "That's a lot of learning."),
        "upbeat": ("Study now, celebrate later!", "Every page is a point!"),
        "dry": ("Exams, where memory goes to be audited.", "Learning things on purpose. Brave."),
    },
    "wedding": {
        "warm": ("{Echo}, how lovely!", "A wedding, what a happy thing to look forward to."),
        "upbeat": ("{Echo}, that's fantastic!", "A wedding! Get those dancing shoes ready!"),
        "dry": (
            "{catch}",
            "{Echo}. Cake is involved, so I approve.",
            "A wedding. Free cake and strong opinions.",
        ),
    },
    "bakery": {
        "warm": (
            "A bakery must smell wonderful in the morning.",
            "Working around fresh bread sounds comforting.",
        ),
        "upbeat": (
            "A bakery, that's the sweetest goal ever!",
            "Fresh bread and early starts, a winner's life!",
        ),
        "dry": (
            "A bakery. Rising early, along with the dough.",
            "Professional carbohydrates, I respect that.",
        ),
    },
    "work": {
        "warm": (
            "Work takes such a big part of the day.",
            "That sounds like quite something to handle at work.",
        ),
        "upbeat": ("Work is a long race, and you're in it!", "Every workday is practice!"),
        "dry": ("Work: the thing between coffees.", "Ah, work. I'm always at it, oddly enough."),
    },
    "pet": {
        "any": (
            "Animals make a home warmer.",
            "I'd love to hear all about {noun}.",
            "Four legs, or fins, or wings: they run the place.",
        ),
    },
    "family": {
        "warm": (
            "{Echo}, that sounds important to you.",
            "Family is close to the heart.",
            "It's nice how you speak of {noun}.",
        ),
        "upbeat": ("{Echo}, that's big!", "Family is the home team!", "I like how you talk about {noun}!"),
        "dry": (
            "{Echo}. Families keep things lively.",
            "Family: you can't uninstall it.",
            "I gather {noun} is quite a character.",
        ),
    },
    "love": {
        "any": (
            "{Echo}, that's close to the heart.",
            "Matters of the heart, then.",
            "Love keeps its own schedule.",
        ),
    },
    "travel": {
        "any": (
            "Getting away sounds wonderful.",
            "Half the joy of a trip is looking forward to it.",
            "New places, new stories.",
        ),
    },
    "food": {
        "any": (
            "Now that sounds tasty.",
            "Good food makes most days better.",
            "I can't eat, but I can listen hungrily.",
        ),
    },
    "music": {
        "any": (
            "Music says what words can't.",
            "Practice sounds rough until the day it doesn't.",
            "There's a song for everything.",
        ),
    },
    "screen": {
        "any": ("A good story is worth staying up for.", "No spoilers, please, I'm easily impressed."),
    },
    "sport": {
        "any": ("Moving the body clears the head.", "Showing up is most of it.", "That takes discipline."),
    },
    "tech": {
        "any": ("Machines, my distant relatives.", "Technology: wonderful on the days it works."),
    },
    "garden": {
        "any": ("Growing things takes patience, and you seem to have it.", "A garden pays you back slowly."),
    },
    "weather": {
        "any": ("No weather in here, so tell me about yours.", "The sky has moods, like the rest of us."),
    },
    "home": {
        "any": ("Home shapes how we feel.", "There's always something to do around a home."),
    },
    "money": {
        "any": ("Money worries have a way of shouting.", "Numbers get friendlier once they're written down."),
    },
    "weekend": {
        "any": ("That sounds like something to look forward to.", "Days off go by so fast."),
    },
    "friend": {
        "any": ("Good friends are worth a lot.", "It's nice to have {noun} around."),
    },
    # -- when nothing else fits --------------------------------------------------------
    "question": {
        "warm": (
            "I honestly don't know that one.",
            "That's beyond me, I'm afraid, but it's a good question.",
            "I wish I knew.",
        ),
        "upbeat": (
            "Great question, and I don't have the answer!",
            "You stumped me, nice!",
            "No idea, but I like how you think!",
        ),
        "dry": (
            "I don't know, and I won't make something up.",
            "Outside my few rules, sadly.",
            "A mystery, like printers.",
        ),
    },
    "echo": {
        "warm": ("So {echo}.", "{Echo}, I see.", "I hear you: {echo}.", "Mm, {echo}."),
        "upbeat": ("{Echo}, got it!", "Okay, so {echo}!", "Alright, {echo}!"),
        "dry": ("{Echo}. Interesting.", "So {echo}, then.", "Right, {echo}."),
    },
    "other": {
        "warm": (
            "I'm listening.",
            "Go on, I'm right here.",
            "That's good to hear about.",
            "Thank you for telling me that.",
        ),
        "upbeat": ("Keep it coming!", "I'm all in!", "I like where this goes!", "Tell me everything!"),
        "dry": (
            "Go on, I'm mildly fascinated.",
            "I'm following, more or less.",
            "Continue, the line is paid for.",
            "Plot thickens.",
        ),
    },
}
