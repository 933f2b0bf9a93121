"""The carrier's questions about a call that came in, and the documents it is answered with.

Proven like every webhook (`twilio.py`) before it comes here. The digits of a PIN come in the body of a request and go
no further than the hash they are held against.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response
from twilio.twiml.voice_response import Gather, VoiceResponse

from server.inbound.replies import WAIT_S, Asked, Connected, Dismissed, Receiving, Reply, Turned


class Inbound:
    """`connected` writes the document that connects a call to its media socket."""

    def __init__(self, public_url: str, connected: Callable[[str, str | None], str]) -> None:
        self._menu_url = f"{public_url}/twilio/pin"
        self._connected = connected

    async def rung(self, reception: Receiving, fields: dict[str, str]) -> Response:
        return self._document(await reception.rung(fields["CallSid"], fields.get("From", "")))

    async def keyed(self, reception: Receiving, fields: dict[str, str]) -> Response:
        sid, sender, digits = fields["CallSid"], fields.get("From", ""), fields.get("Digits", "")
        return self._document(await reception.keyed(sid, sender, digits))

    def _document(self, reply: Reply) -> Response:
        response = VoiceResponse()
        match reply:
            case Connected(call_id, token):
                return Response(self._connected(call_id, token), media_type="text/xml")
            case Asked(words):
                gather = Gather(
                    input="dtmf", finish_on_key="#", timeout=WAIT_S, action=self._menu_url, method="POST"
                )
                gather.say(words)
                response.append(gather)
                response.redirect(self._menu_url, method="POST")
            case Dismissed(words):
                response.say(words)
                response.hangup()
            case Turned(busy):
                response.reject(reason="busy" if busy else "rejected")
        return Response(str(response), media_type="text/xml")
