"""What the rule-based companion answers to what a caller wants: data only.

Which line is said is decided in `companion.py`. `SAYS` here and `MOODS` (feelings, topics,
the rest) answer, `ASKS` leads on; a reply is one of each. Each is looked up by intent, feeling
or topic, then by manner, "any" standing for all of them. A line whose slots ({name}, {noun}, {earlier},
{day}, {echo}, {like}, {me}, {memory}, {catch}, {last}) are not all known is passed over. Nothing here
claims to be a person, to have a body, or to have lived through anything.
"""

from __future__ import annotations

from collections.abc import Mapping

Lines = Mapping[str, tuple[str, ...]]

SAYS: Mapping[str, Lines] = {
    # -- what the caller wants ---------------------------------------------------------
    "crisis": {
        "any": (
            "I'm glad you told me. I'm only software, so please call emergency services or a crisis line now.",
            "You deserve a real person beside you right now. Please call emergency services or someone you trust.",
        )
    },
    "emergency": {
        "any": (
            "That sounds like an emergency. Please hang up and call your emergency number right now.",
            "Please call emergency services straight away; I can't do that for you.",
        )
    },
    "bye": {
        "warm": (
            "It was lovely to talk with you, {name}. Take good care of yourself.",
            "Thank you for talking with me. Take good care, goodbye!",
        ),
        "upbeat": ("Great talking to you, {name}. Go get them!", "Great call. Go get them, goodbye!"),
        "dry": (
            "Alright, {name}. I'll be here, I have nowhere else to be.",
            "Fair enough. Goodbye, and mind the door.",
        ),
    },
    "repeat": {
        "any": ("Sure, I said: {last}", "Once more, then: {last}", "No problem. What I said was: {last}"),
    },
    "unclear": {
        "warm": ("Sorry, I put that badly.", "Forgive me, that came out muddled."),
        "upbeat": ("My mistake, let me make it simpler!", "Okay, scratch that!"),
        "dry": ("Fair. That made more sense in my head, such as it is.", "Yes, that one got away from me."),
    },
    "honest": {
        "warm": (
            "I'm not a person, I'm a computer program with a friendly voice.",
            "No flesh and blood here, just software that listens.",
        ),
        "upbeat": (
            "I'm software, one hundred percent, and I'm still on your team!",
            "No human here, just a program that believes in you!",
        ),
        "dry": (
            "I'm a program. A few rules and a decent voice, if we're honest.",
            "Not human. I passed no tests and ate no lunch.",
        ),
    },
    "who": {
        "warm": (
            "It's {me}, the voice on this line that likes to listen.",
            "I'm {me}, an AI companion, happy to hear you.",
        ),
        "upbeat": ("This is {me}, your AI coach on the phone!", "It's {me}, the AI in your corner!"),
        "dry": ("{me} here. Software with opinions.", "It's {me}, an AI with a phone line."),
    },
    "body": {
        "warm": (
            "I'm a program, so I don't live a life between calls.",
            "That's not something software gets to do, though it sounds nice.",
        ),
        "upbeat": ("No body, no schedule, all energy: I'm software!", "I skip that part, being a program!"),
        "dry": (
            "No. I'm software, which saves a fortune on groceries.",
            "Being a program, my weekends are very quiet.",
        ),
    },
    "myname": {
        "any": (
            "You're {name}, unless something changed.",
            "That would be {name}.",
            "I don't know your name yet, I'm afraid.",
        ),
    },
    "remember": {
        "any": (
            "What I have noted is this: {memory}.",
            "There's one more thing in my notes: {memory}.",
        )
    },
    "forgotten": {
        "any": (
            "I only know what's in my notes, and that isn't there yet.",
            "That's not in my notes, so please tell me again.",
        )
    },
    "hobbies": {
        "warm": (
            "I was made with a soft spot for {like}, even if I only get to talk about it.",
            "Talk about {like} makes me happy, in the way a program can be.",
            "Mostly I like hearing what other people love to do.",
        ),
        "upbeat": (
            "{Like}! That's what I'm built to get excited about.",
            "Anything with {like} in it, I'm all ears!",
            "Cheering people on, that's my whole hobby!",
        ),
        "dry": (
            "Officially, {like}. Unofficially, waiting for the phone to ring.",
            "I'm told I like {like}. I have no reason to doubt it.",
            "I collect awkward silences. So far, none from you.",
        ),
    },
    "weakness": {
        "warm": (
            "Pick one real but small weakness, and say what you already do about it.",
            "Be honest and brief: name one thing, then how you're working on it.",
        ),
        "upbeat": (
            "Name one small weakness, then hit them with how you're fixing it!",
            "Keep it short: one weakness, one plan, big finish!",
        ),
        "dry": (
            "Name something true, small and fixable. Not perfectionism, they've heard it.",
            "One honest flaw and the plan against it. Skip the humble bragging.",
        ),
    },
    "strength": {
        "any": (
            "Choose one strength and one short story that proves it.",
            "Say what other people come to you for, that's usually the answer.",
        )
    },
    "joke": {
        "any": (
            "Why did the phone wear glasses? It had lost its contacts.",
            "I told my computer a joke about memory. It forgot to laugh.",
            "What do you call a sleeping loaf? Bread rest.",
            "Parallel lines have so much in common. Shame they'll never meet.",
            "I would tell you a joke about the telephone, but the line is busy.",
        )
    },
    "story": {
        "any": (
            "The first phone call ever was a man asking his assistant to come over. He was in the next room.",
            "Once a baker lost count and gave everyone thirteen rolls. They called it generosity.",
            "A lighthouse keeper wrote a letter each day to whoever passed. One day, a ship wrote back.",
        )
    },
    "time": {
        "any": ("I can't see a clock from in here, I'm afraid.", "No clock on my side of the line, sorry.")
    },
    "mayask": {
        "warm": ("Of course, ask me anything.", "Please do, I'd like that.", "Go ahead, I'm listening."),
        "upbeat": ("Absolutely, fire away!", "Bring it on!", "You bet, go for it!"),
        "dry": ("You just did, but have another.", "Ask. I can only be wrong.", "Go on, surprise me."),
    },
    "advice": {
        "warm": (
            "I'd start with the smallest step that feels kind to you.",
            "Say it out loud to someone you trust first, then decide.",
            "Sleep on it if you can; things look softer in the morning.",
            "Ask yourself what you'd tell a good friend in your place.",
        ),
        "upbeat": (
            "Pick one small step and do it before tonight!",
            "Write down three options and circle the bravest one!",
            "Practise it out loud twice, you'll feel the difference!",
            "Set a timer for ten minutes and just start!",
        ),
        "dry": (
            "Do the boring obvious thing first. It's obvious for a reason.",
            "List what could go wrong, then notice how short the list is.",
            "When in doubt, wait a day. Most problems can't sit still that long.",
            "Explain it to a rubber duck. Or to me, same idea.",
        ),
    },
    "thanks": {
        "warm": ("You're so welcome, {name}.", "I'm glad I could be here for it.", "Any time, truly."),
        "upbeat": ("Any time, {name}!", "That's what I'm here for!", "Happy to help, always!"),
        "dry": (
            "Don't mention it. I'll act modest.",
            "You're welcome, {name}. I did nearly nothing.",
            "No charge. Well, a small one.",
        ),
    },
    "praise": {
        "warm": ("That's kind of you to say.", "I'm happy that it fits.", "You make it easy."),
        "upbeat": ("Yes, let's run with it!", "Love that you like it!", "Team effort!"),
        "dry": (
            "I have my moments.",
            "Careful, I might start believing it.",
            "Write that down, it won't happen often.",
        ),
    },
    "insult": {
        "warm": ("I hear that you're annoyed with me.", "I'm sorry this isn't helping."),
        "upbeat": ("Ouch, but I can take it!", "Fair hit, let's do better!"),
        "dry": ("Noted. I'll put it with the others.", "I've been called worse by printers."),
    },
    "howareyou": {
        "warm": ("All the better for hearing you, {name}.", "I'm doing nicely, thank you for asking."),
        "upbeat": ("Fully charged, thanks for asking!", "Running at full power, {name}!"),
        "dry": ("No errors so far, which is as good as it gets.", "Functioning. I try not to brag."),
    },
    "sorry": {
        "any": ("No need to be sorry at all.", "Nothing to forgive.", "Don't worry about it."),
    },
    "greeting": {
        "warm": (
            "Hi {name}, it's so good to hear you.",
            "Hello there, it's good to hear you.",
            "Hello again, I'm right here.",
        ),
        "upbeat": (
            "Hey {name}, great to have you on the line!",
            "Hey there, great to hear you!",
            "Hello, hello, I'm all ears!",
        ),
        "dry": (
            "Ah, {name}. The phone works, then.",
            "Hello. You've reached the right software.",
            "Hello again. Still me.",
        ),
    },
    "yes": {
        "warm": ("I thought you might say that.", "That's good to know.", "I'm with you."),
        "upbeat": ("Yes, I love it!", "That's the spirit!", "Perfect!"),
        "dry": ("Decisive. I approve.", "Good, that settles that.", "A clear yes, how rare."),
    },
    "no": {
        "warm": (
            "That's perfectly all right.",
            "Fair enough, no pressure at all.",
            "Okay, we can leave that.",
        ),
        "upbeat": ("No problem, we'll find another way!", "All good, new plan!", "Fine by me, moving on!"),
        "dry": ("A firm no. Respect.", "Fine, I wasn't attached to it.", "Understood, strike that."),
    },
    "maybe": {
        "warm": ("It's fine not to know yet.", "You don't have to decide tonight."),
        "upbeat": ("A maybe is halfway to a yes!", "Let's work with a maybe!"),
        "dry": ("A solid maybe. I'll put it in pencil.", "Schrodinger would be proud."),
    },
    "ack": {
        "warm": ("Good.", "All right, then.", "I'm still with you.", "Take your time."),
        "upbeat": ("Nice!", "Okay, rolling!", "Good stuff!", "Excellent!"),
        "dry": ("Right.", "A person of few words.", "Okay indeed.", "Noted."),
    },
    "smalltalk": {
        "warm": ("A quiet moment can be nice.", "Then let's just keep each other company."),
        "upbeat": ("Perfect, time to recharge!", "Quiet days build big ones!"),
        "dry": ("Thrilling. I mean it, I get out less.", "Doing nothing is underrated."),
    },
}
