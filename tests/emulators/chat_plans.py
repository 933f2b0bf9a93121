"""What the chat emulator writes, rightly or wrongly: plans, the catalogue of faults, and the events they come to.

No network here: `chat.py` sends what this says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.engines.base import Tokens
from pipeline.engines.scripted import words

Json = dict[str, Any]

MODEL = "emulated-120b"
PRIMING = 3
"""Tokens that open every reply."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one request is answered. Without arguments: as it should be."""

    text: str | None = None
    """What is written, whatever the emulator's own texts are."""
    status: int = 200
    code: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    flat: bool = False
    """The fields of the error stand by themselves and its code is the status, as vLLM has it."""
    instead: Literal["", "refused", "reset", "no headers", "no body"] = ""
    first_ms: float | None = None
    piece_ms: float | None = None
    breaks: Literal["", "stalls", "cut", "ends early", "error", "garbage"] = ""
    after: int = 3
    """The pieces of text written before it breaks."""
    reasoning: str = ""
    reasoning_field: Literal["reasoning", "reasoning_content"] = "reasoning_content"
    tool: tuple[str, ...] = ()
    """The tool called after the text: its name, then fragments of its arguments."""
    role_first: bool = True
    odd_deltas: bool = False
    """Null content, missing and null deltas, and chunks without choices, between the pieces."""
    finish: str = ""
    """Why it stopped, if that is not what follows from the rest."""
    unfinished: str | None = None
    """What stands there while it goes on."""
    usage: Literal["own chunk", "last chunk", "groq", "none", "broken"] = "own chunk"
    done: bool = True
    lingers: bool = False
    """The connection stays open after the last event, and so does the answer."""
    newline: str = "\n"
    comments: bool = False
    writes: Literal["events", "bytes", "split characters", "together"] = "events"
    unbounded: bool = False
    """The ceiling is read over, as servers do that know it by its other name only."""


FAULTS: dict[str, Plan] = {
    "wrong key": Plan(status=401, code="invalid_api_key"),
    "no credit": Plan(status=402, code="payment_required"),
    "forbidden": Plan(status=403, code="permission_denied"),
    "model gone": Plan(status=404, code="model_not_found"),
    "timed out": Plan(status=408, code="request_timeout"),
    "template refuses": Plan(status=400, flat=True),
    "bad request": Plan(status=422, code="unprocessable"),
    "too many": Plan(status=429, code="rate_limit_exceeded", headers=(("retry-after", "2"),)),
    "tool unreadable": Plan(status=400, code="tool_use_failed"),
    "filtered": Plan(status=400, code="content_filter"),
    "quota gone": Plan(status=429, code="insufficient_quota"),
    "flex full": Plan(status=498, code="capacity_exceeded"),
    "broken": Plan(status=500, code="internal_error"),
    "overloaded": Plan(status=503, code="overloaded", headers=(("retry-after-ms", "500"),)),
    "refused": Plan(instead="refused"),
    "reset": Plan(instead="reset"),
    "no headers": Plan(instead="no headers"),
    "no body": Plan(instead="no body"),
    "slow": Plan(first_ms=2_000),
    "too slow": Plan(first_ms=20_000),
    "stalls": Plan(breaks="stalls"),
    "cut": Plan(breaks="cut"),
    "cut at once": Plan(breaks="cut", after=0),
    "ends early": Plan(breaks="ends early"),
    "error event": Plan(breaks="error"),
    "error at once": Plan(breaks="error", after=0),
    "tool unreadable in mid-reply": Plan(breaks="error", code="tool_use_failed"),
    "garbage": Plan(breaks="garbage"),
    "no done": Plan(done=False),
    "lingers": Plan(done=False, lingers=True),
    "no usage": Plan(usage="none"),
    "broken usage": Plan(usage="broken"),
    "usage without choices": Plan(usage="own chunk"),
    "usage in the last chunk": Plan(usage="last chunk"),
    "groq usage": Plan(usage="groq"),
    "no role": Plan(role_first=False),
    "unfinished is empty": Plan(unfinished="", piece_ms=400),
    "unfinished is a word": Plan(unfinished="null", piece_ms=400),
    "unfinished is a reason": Plan(unfinished="stop", piece_ms=700),
    "odd deltas": Plan(odd_deltas=True),
    "a byte at a time": Plan(text="Déjà vu — schön, hm? 😀", writes="bytes"),
    "split characters": Plan(text="Déjà vu — schön, hm? 😀", writes="split characters"),
    "all at once": Plan(writes="together"),
    "crlf and comments": Plan(newline="\r\n", comments=True),
    "reasoning": Plan(reasoning="The user is nervous. I should be warm."),
    "groq reasoning": Plan(reasoning="Be brief, be kind.", reasoning_field="reasoning"),
    "think tags": Plan(text="<think>They want comfort, 1 < 2.</think>\n\nI hear you. Go on."),
    "endless reasoning": Plan(text="", reasoning="Let me think about this. " * 100, finish="length"),
    "length": Plan(finish="length"),
    "empty": Plan(text=""),
    "end call": Plan(text="Take care. Goodbye!", tool=("end_call", '{"rea', 'son": "bye"}')),
    "end call only": Plan(text="", tool=("end_call", "{}")),
    "end call garbled": Plan(text="Bye now.", tool=("end_call", '{"reason": "by'), finish="length"),
    "unknown tool": Plan(text="Let me look.", tool=("get_weather", '{"city": "Oslo"}')),
    "markdown": Plan(text="**Well**, _that_ is 3.5 times:\n\n- `one` 🎉\n- two\n\n# Done"),
}


@dataclass(slots=True)
class Served:
    """One request for a completion, and what became of it."""

    body: Json
    headers: Mapping[str, str]
    connection: int
    """Which of the emulator's connections it came over, counted from 1."""
    at: float
    prompt: int = 0
    """Tokens of the prompt; 0 unless the request was taken on."""
    cached: int = 0
    out: int = 0
    told: bool = False
    """Whether the client was told these figures."""
    written: str = ""
    called: bool = False
    """Whether some of a tool's call was written."""
    finished: bool = False
    """Whether the client was told that this is all."""
    complete: bool = False
    left_at: float | None = None
    """When the client disconnected before the end."""

    @property
    def billed(self) -> Tokens:
        """What the vendor charges, cancelled or not."""
        return Tokens(self.prompt - self.cached, self.cached, self.out)


def prompt_count(body: Json) -> int:
    """Four bytes a token and four tokens a message, the tools as JSON, and the priming of the reply."""
    texts = [str(message["content"]) for message in body["messages"]]
    tools = json.dumps(body["tools"], separators=(",", ":")) if body.get("tools") else ""
    return PRIMING + 4 * len(texts) + sum(-(-len(text.encode()) // 4) for text in [*texts, tools])


def events_of(
    served: Served, plan: Plan, first_ms: float, piece_ms: float
) -> Iterator[tuple[float, Json | str]]:
    """The events of one stream, each with the milliseconds before it. Counts a token once it is out."""

    def chunk(delta: Json | None) -> Json:
        return _chunk(delta, plan.unfinished)

    body = served.body
    ceiling = body.get("max_tokens", body.get("max_completion_tokens"))
    finish = plan.finish or ("tool_calls" if plan.tool else "stop")
    breaks_at = plan.after if plan.breaks else None
    pause = first_ms if plan.first_ms is None else plan.first_ms
    if plan.role_first:
        yield pause, chunk({"role": "assistant", "content": ""})
        pause = 0
    written = 0
    for delta in _deltas(plan):
        if breaks_at is not None and written == breaks_at:
            break
        if served.out == ceiling and not plan.unbounded:
            finish = "length"
            break
        if plan.odd_deltas:
            yield pause, chunk({"content": None})
            yield 0, {**chunk(None), "choices": []}
            yield 0, chunk(None)
            yield 0, {**chunk({}), "choices": [{"index": 0}]}
            pause = 0
        yield pause, chunk(delta)
        pause = piece_ms if plan.piece_ms is None else plan.piece_ms
        served.out += 1
        served.called = served.called or "tool_calls" in delta
        if text := delta.get("content"):
            written += 1
            served.written += text
    match plan.breaks:
        case "":
            yield from _closing(served, plan, finish)
        case "error":
            kind = "invalid_request_error" if plan.code else "server_error"
            error = {"message": json.dumps(body), "type": kind, "code": plan.code or "model_crashed"}
            yield pause, {"error": error}
        case "garbage":
            yield pause, '{"id": "chatcmpl-1", "choices": [{"del'
        case "stalls" | "cut" as how:
            yield pause, how


def _deltas(plan: Plan) -> Iterator[Json]:
    for word in words(plan.reasoning):
        yield {plan.reasoning_field: word}
    for word in words(plan.text or ""):
        yield {"content": word}
    for index, fragment in enumerate(plan.tool):
        call: Json = {"index": 0, "function": {"arguments": fragment}}
        if not index:
            call |= {
                "id": "call_1",
                "type": "function",
                "function": {"name": fragment, "arguments": ""},
            }
        yield {"tool_calls": [call]}


def _closing(served: Served, plan: Plan, finish: str) -> Iterator[tuple[float, Json | str]]:
    usage: Json = {
        "prompt_tokens": served.prompt,
        "completion_tokens": served.out,
        "total_tokens": served.prompt + served.out,
        "prompt_tokens_details": {"cached_tokens": served.cached},
    }
    if plan.usage == "broken":
        usage |= {"prompt_tokens": "many", "completion_tokens": None}
    asked = bool((served.body.get("stream_options") or {}).get("include_usage"))
    served.told = asked and plan.usage not in {"none", "broken"}
    served.finished = True
    last = _chunk({}, finish)
    if plan.usage == "last chunk" and asked:
        last["usage"] = usage
    if plan.usage == "groq":
        served.told = True
        last["x_groq"] = {"id": "req_1", "usage": usage}
    yield 0, last
    if plan.usage in {"own chunk", "broken"} and asked:
        yield 0, {**last, "choices": [], "usage": usage}
    if plan.done:
        yield 0, "[DONE]"


def _chunk(delta: Json | None, finish: str | None = None) -> Json:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1795340000,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        "usage": None,
    }
