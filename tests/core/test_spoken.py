"""What a voice reads of a written text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.numerals import cardinal, ordinal, year
from pipeline.core.spoken import spoken

# Written | spoken, one example a line.
FIGURES = r"""
I have 0 or 7 or 13 or 20 or 42. | I have zero or seven or thirteen or twenty or forty-two.
1,234,567 people | one million two hundred thirty-four thousand five hundred sixty-seven people
2000000 and 3,000,000,000,000 | two million and three trillion
3.5 and 0.25 and .5 | three point five and zero point two five and point five
-5 and -2.5 | minus five and minus two point five
5-10 or 5–10 people | five to ten or five to ten people
1st, 2nd, 3rd, 12th, 20th, 22nd | first, second, third, twelfth, twentieth, twenty-second
100th, 1,000th | one hundredth, one thousandth
1/2, 3/4, 2/3, 1 1/2, 2 3/4 | one half, three quarters, two thirds, one and a half, two and three quarters
2 1/3 | two and one third
7/2 or 3/2 halves | seven over two or three over two halves
8/10, 24/7, 50/50 | eight out of ten, twenty-four seven, fifty-fifty
½ cup, 5½ miles | one half cup, five and a half miles
50%, 2.5 %, 5-10% | fifty percent, two point five percent, five to ten percent
in 1999, by 2026 and since 2005 | in nineteen ninety-nine, by twenty twenty-six and since two thousand five
1905 and 1900 and 2000 | nineteen oh five and nineteen hundred and two thousand
in 1066 | in ten sixty-six
1500 people | one thousand five hundred people
2026 was fine, 2025 apples | twenty twenty-six was fine, two thousand twenty-five apples
1999-2005 | nineteen ninety-nine to two thousand five
the 1990s, the '80s, the 2000s | the nineteen nineties, the eighties, the two thousands
555-0123 | five five five, zero one two three
(415) 555-0123 | four one five, five five five, zero one two three
+1 415-555-0123 | one, four one five, five five five, zero one two three
1-800-555-0199 | one, eight hundred, five five five, zero one nine nine
1-800-FLOWERS or 1-877-FLOWERS | one, eight hundred, FLOWERS or one, eight seven seven, FLOWERS
4155550123 | four one five, five five five, zero one two three
007 and 12345678 | zero zero seven and one two three four five six seven eight
12,345,678,901,234,567 | one two three four five six seven eight nine zero one two three four five six seven
call 911, $911 | call nine one one, nine hundred eleven dollars
the code is 4821 | the code is four eight two one
version 1.2.3, v1.2.3 | version one point two point three, v one point two point three
1,2,3 | one, two, three
MP3, B2B, COVID-19, 4K, 10K, 50k | MP three, B two B, COVID nineteen, four K, ten thousand, fifty thousand
5M | five million
a 5-year-old, a 5-km run | a five-year-old, a five-kilometer run
2+2=4, 10 - 5, 3 * 4, 3 × 4 | two plus two equals four, ten minus five, three times four, three times four
3x4, 8÷2 | three by four, eight divided by two
x² and 10^3 | x squared and ten cubed
٣ apples | three apples
16:9 | sixteen to nine
Henry VIII and World War II | Henry VIII and World War II
"""
MONEY = r"""
$5, $1, $3.50 | five dollars, one dollar, three dollars and fifty cents
$1,234.56 | one thousand two hundred thirty-four dollars and fifty-six cents
$0.50, $0.01, $1.01, $0 | fifty cents, one cent, one dollar and one cent, zero dollars
$.50, $.05, $.5, $.00, $.075 | fifty cents, five cents, fifty cents, zero dollars, point zero seven five dollars
$.50-$1, -$.50, .50€, a $.50 stamp | fifty cents to one dollar, minus fifty cents, fifty cents, a fifty cent stamp
$2M, $3.2 billion, $5k | two million dollars, three point two billion dollars, five thousand dollars
$1.5-2 million | one point five to two million dollars
€5, £5.20, £0.01, ¥500 | five euros, five pounds and twenty pence, one penny, five hundred yen
50¢, 5 €, $2.999 | fifty cents, five euros, two point nine nine nine dollars
-$5 | minus five dollars
$5-10, $5–$10, $1.50-$2 | five to ten dollars, five to ten dollars, one dollar and fifty cents to two dollars
a $5 bill, a $2 million house | a five dollar bill, a two million dollar house
$5/month, $20/hr | five dollars per month, twenty dollars per hour
US$5, 5 USD | US five dollars, five US dollars
"""
TIMES = r"""
3pm, 3:30 pm, 15:45, 15:00 | three PM, three thirty PM, fifteen forty-five, fifteen hundred
3:00 | three o'clock
9 a.m. | nine AM.
at 9 a.m. on Monday | at nine AM on Monday
at 9 a.m. Monday | at nine AM Monday
At 5 p.m. He left. | At five PM. He left.
at 7:05, 0:00, 0:30, 12:00 PM | at seven oh five, midnight, zero thirty, twelve PM
9-5pm, 9am-5pm, 3:30-4:30 p.m. then | nine to five PM, nine AM to five PM, three thirty to four thirty PM then
1:02:03 and 45:00 | one oh two and three seconds and forty-five
in the a.m. we | in the AM we
June 3, June 3rd, Jan. 5, 3 June 2026 | June third, June third, January fifth, June third, twenty twenty-six
June 3, 2026 | June third, twenty twenty-six
June 3-5, June 30-July 2, May 2026 | June third to fifth, June thirtieth to July second, May twenty twenty-six
June 99 | June ninety-nine
6/3/2026, 6/3/26 | June third, twenty twenty-six, June third, twenty twenty-six
25/12/99 | December twenty-fifth, nineteen ninety-nine
2026-06-03, 2026-06-03T15:30 | June third, twenty twenty-six, June third, twenty twenty-six at fifteen thirty
on 6/3 | on June third
on 2/13 | on February thirteenth
99/99/9999 | ninety-nine or ninety-nine or nine thousand nine hundred ninety-nine
2026-99-99 | two zero two six, nine nine, nine nine
"""
UNITS = r"""
5 km, 1 km, 10kg, 30 mph | five kilometers, one kilometer, ten kilograms, thirty miles per hour
2GB, 6 ft, 5 lbs | two gigabytes, six feet, five pounds
72°F, 20 °C, 1°, 90° | seventy-two degrees Fahrenheit, twenty degrees Celsius, one degree, ninety degrees
60 km/h, 3 m/s, 100 Mbps | sixty kilometers per hour, three meters per second, one hundred megabits per second
5 m², 5 m^3, 100 sq ft | five square meters, five cubic meters, one hundred square feet
2 kWh, 50 Hz, 5 kHz | two kilowatt hours, fifty hertz, five kilohertz
a 5 km walk | a five kilometer walk
5 ft. tall, 5 km. then | five feet tall, five kilometers. then
5 in the box, 5in, 5 in. wide | five in the box, five inches, five inches wide
6'2" tall | six foot two tall
-5°F | minus five degrees Fahrenheit
"""
ABBREVIATIONS = r"""
Dr. Smith, Mr. Jones, Mrs Jones and Prof. Lee | Doctor Smith, Mister Jones, Missus Jones and Professor Lee
123 Main St. | one hundred twenty-three Main Street.
lives on Main St. Then | lives on Main Street. Then
lives on Main St. Bridge | lives on Main Street Bridge
on Elm Dr. and | on Elm Drive and
the 5th St. exit | the fifth Street exit
St. Louis, In St. Louis | Saint Louis, In Saint Louis
the dr. or the St | the dr. or the St
a Dr. is here | a Doctor is here
e.g. apples, i.e. this | for example apples, that is this
E.g., apples | For example, apples
cats, dogs, etc. and more | cats, dogs, et cetera and more
cats, dogs, etc. Then | cats, dogs, et cetera. Then
cats vs. dogs, approx. ten | cats versus dogs, approximately ten
No. 5, no. 5, Nos. 5 and 6, #1 | number five, number five, numbers five and six, number one
No. I won't. | No. I won't.
Apple Inc. is | Apple Incorporated is
Mon. at noon | Monday at noon
the corp. was wed. yes | the corp. was wed. yes
w/ milk, w/o sugar | with milk, without sugar
U.S. Army, NASA, FBI | U.S. Army, NASA, FBI
STOP SHOUTING | STOP SHOUTING
"""
SIGNS = r"""
you & me, AT&T, &amp; | you and me, AT and T, and
~5, ≈5, <5, > 5 is, ±2 | about five, about five, less than five, more than five is, plus or minus two
A → B, a -> b | A to B, a to b
C++, C#, 18+, a + b | C plus plus, C sharp, eighteen plus, a plus b
and/or, yes/no, N/A, either/or | and or, yes or no, N A, either or
I love you <3 | I love you
:) hi ;-) | hi
snake_case | snake case
example.com | example dot com
See www.example.com/a-b?c=d. Then | See example dot com slash a dash b. Then
<https://x.com/>, http://localhost:8000 | x dot com, localhost port eight thousand
https://a.com/a-very-long-path/that-is-nothing/to-listen-to/1234 | a dot com
john.smith+x@example.co.uk | john dot smith plus x at example dot co dot uk
main.py and report.pdf | main dot py and report dot pdf
"""
MARKUP = r"""
**Bold**, _italic_ and `code` | Bold, italic and code
It is *really* good | It is really good
*laughs* Hello | Hello
Well (sighs), okay | Well, okay
[pause] Yes (laughs softly) | Yes
(clears throat) (softly) Hi | Hi
*smiles warmly at you* Hi | Hi
*softly* Hi | Hi
do it *softly* | do it softly
**takes two days** | takes two days
*takes a deep breath* Hi | Hi
the shop (which opens at nine) is | the shop (which opens at nine) is
[your name] | your name
<thinking>He is sad.</thinking> Hi | Hi
<break time="1s"/>Hi <b>there</b> | Hi there
Hi there.<|im_end|> | Hi there.
Hi.<｜end▁of▁sentence｜> | Hi.
(*laughs*) ( 🙂 ) Hi | Hi
Hi 🙂👍🏽 there | Hi there
[docs](http://x.com/a_b) | docs
"""


def examples(block: str) -> list[tuple[str, str]]:
    pairs = (line.split(" | ") for line in block.strip().splitlines())
    return [(written, said) for written, said in pairs]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        pair
        for block in (FIGURES, MONEY, TIMES, UNITS, ABBREVIATIONS, SIGNS, MARKUP)
        for pair in examples(block)
    ],
)
def test_what_a_voice_reads(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("# Title\nText", "Title. Text"),
        ("We need:\n- milk\n- eggs\n* bread\n\nThen go.", "We need: milk, eggs, bread, Then go."),
        ("List\n1. Milk\n2) Eggs", "List, one. Milk, two. Eggs"),
        ("> a quote\n\nand more", "a quote. and more"),
        ("One line\nand the next.\nLast", "One line and the next. Last"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a, b. one, two"),
        ("a\n---\nb", "a. b"),
        ("```python\nx\n```", "x"),
        ("- [ ] a task", "a task"),
        ("\n\n", ""),
    ],
)
def test_lines_become_one(written: str, said: str) -> None:
    assert spoken(written) == said


def test_number_words() -> None:
    assert cardinal(999_999_999_999_999).startswith("nine hundred ninety-nine trillion nine")
    assert [ordinal(n) for n in (5, 8, 9, 30, 101)] == [
        "fifth",
        "eighth",
        "ninth",
        "thirtieth",
        "one hundred first",
    ]
    assert [year(n) for n in (1800, 2010, 3000)] == ["eighteen hundred", "twenty ten", "three thousand"]


nasty = st.text(
    st.sampled_from("aAzT 0159.,:;-–/$€%°#@&+=*_`~^|<>()[]{}!?'\"\n\t…½²🙂é\u200d\ufe0f"), max_size=40
)
scraps = st.lists(
    st.sampled_from(
        [
            *(
                "$1",
                ",000",
                ".5",
                "5",
                "km",
                "St.",
                "Dr.",
                "No.",
                "e.g.",
                "etc.",
                "a.m.",
                "p.m.",
                "June",
                "2026",
                "3:30",
            ),
            *(
                "1/2",
                "-7",
                "*laughs*",
                "(sighs)",
                "[a](b)",
                "<b>",
                "<|im_end|>",
                "<|",
                "|>",
                "&",
                "http://",
                ".com",
                "www.a.com",
                "x@y.z",
            ),
            *("\n- ", "\n# ", "( ", ")", " ", " ", "**", "1st", "&amp;", "'90s", "I", "The"),
        ]
    ),
    max_size=9,
).map("".join)


@given(st.text() | nasty | scraps)
def test_any_text_becomes_one_readable_line(text: str) -> None:
    said = spoken(text)
    assert said == " ".join(said.split())
    assert not set(said) & set("*_`#~|<>{}[]\\^=+@&%$€°/0123456789")
    assert not any(unicodedata.category(ch) in {"Cc", "Cf", "Cs", "So", "Sm", "Sc", "Nd"} for ch in said)


@given(st.text() | nasty | scraps)
def test_reading_it_again_changes_nothing(text: str) -> None:
    assert spoken(spoken(text)) == spoken(text)


plain = st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=9).filter(
    lambda word: word not in {"mr", "mrs", "ms", "vs", "etc", "approx"}
)


@given(st.lists(st.tuples(plain, st.sampled_from(["", "", "", ",", ".", "!", "?", "...", ";"])), max_size=30))
def test_words_of_plain_prose_stay(words: list[tuple[str, str]]) -> None:
    text = " ".join(word + mark for word, mark in words)
    short = {"prof", "gen", "dept", "ext", "apt", "ave", "blvd"}
    if not any(word in short for word, _ in words):
        assert spoken(text) == text


@given(st.integers(0, 10**15 - 1).filter(lambda n: n != 911))
def test_every_number_has_words_of_its_own(n: int) -> None:
    values = {
        name: 10**power
        for name, power in zip(["thousand", "million", "billion", "trillion"], [3, 6, 9, 12], strict=True)
    }
    small = {cardinal(k): k for k in range(1000)}
    total, group = 0, list[str]()
    for word in cardinal(n).split():
        if word in values:
            total, group = total + small[" ".join(group)] * values[word], []
        else:
            group.append(word)
    assert total + (small[" ".join(group)] if group else 0) == n
    assert spoken(f"{n:,}") == cardinal(n)
