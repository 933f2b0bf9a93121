"""What the simulated carrier understands of TwiML: enough for a menu and for a call that is a media stream.

Reads a document into verbs; must not carry them out. Names are case-sensitive, as at the
carrier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree


class BadTwiml(ValueError):
    """The document is not TwiML, or asks for what the carrier refuses."""


@dataclass(frozen=True, slots=True)
class ConnectStream:
    """Stream the call's sound to `url` until the socket closes; then `action`, or the next verb."""

    url: str
    parameters: Mapping[str, str]
    status_callback: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Hangup:
    pass


@dataclass(frozen=True, slots=True)
class Reject:
    """As the first verb: not answered, and so not billed."""

    busy: bool


@dataclass(frozen=True, slots=True)
class Say:
    text: str


@dataclass(frozen=True, slots=True)
class Gather:
    """Say `prompt` and collect keys, until `finish` or `timeout_s` of none, for `action`; with none the next verb."""

    prompt: str
    action: str
    timeout_s: float
    finish: str


Verb = ConnectStream | Redirect | Pause | Hangup | Reject | Say | Gather


def parse(document: str) -> tuple[Verb, ...]:
    """The verbs in order. Raises `BadTwiml`; `<Reject>` behind another verb is a hang-up."""
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError as error:
        raise BadTwiml(f"not XML: {error}") from error
    if root.tag != "Response":
        raise BadTwiml(f"root element <{root.tag}>")
    return tuple(_verb(element) for element in root)


def _verb(element: ElementTree.Element) -> Verb:
    match element.tag:
        case "Connect":
            return _connect(element)
        case "Redirect":
            return Redirect((element.text or "").strip())
        case "Pause":
            return Pause(float(element.get("length", "1")))
        case "Hangup":
            return Hangup()
        case "Reject":
            return Reject(element.get("reason") == "busy")
        case "Say":
            return Say((element.text or "").strip())
        case "Gather":
            return _gather(element)
        case other:
            raise BadTwiml(f"verb <{other}> is not simulated")


def _gather(element: ElementTree.Element) -> Gather:
    if element.get("input", "dtmf") != "dtmf":
        raise BadTwiml("only keys are gathered here")
    prompt = " ".join((said.text or "").strip() for said in element.findall("Say"))
    timeout = float(element.get("timeout", "5"))
    return Gather(prompt, element.get("action", ""), timeout, element.get("finishOnKey", "#"))


def _connect(element: ElementTree.Element) -> ConnectStream:
    streams = element.findall("Stream")
    if len(streams) != 1:
        raise BadTwiml("<Connect> needs one <Stream>")
    stream = streams[0]
    url = stream.get("url", "")
    if "?" in url:
        raise BadTwiml("31920: a stream URL takes no query string")
    if stream.get("track", "inbound_track") != "inbound_track":
        raise BadTwiml("31941: <Connect> streams the inbound track only")
    parameters: dict[str, str] = {}
    for parameter in stream.findall("Parameter"):
        name, value = parameter.get("name", ""), parameter.get("value", "")
        if not name or len(name) + len(value) >= 500:
            raise BadTwiml("a stream parameter needs a name and fewer than 500 characters")
        parameters[name] = value
    return ConnectStream(url, parameters, stream.get("statusCallback", ""), element.get("action", ""))
