"""Both kinds of transcriber, for the stories of a module: `pytestmark = pytest.mark.usefixtures("ends_turns")`."""

import pytest

from tests.core import story


@pytest.fixture(params=[False, True], ids=["silence-ends-turns", "transcriber-ends-turns"])
def ends_turns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the transcriber of a story ends turns, where the story does not say.

    What holds for one kind only is marked with `ENDED_BY_SILENCE` or `ENDED_BY_TRANSCRIBER`.
    """
    kind: bool = request.param
    monkeypatch.setattr(story, "ENDS_TURNS", kind)
    return kind
