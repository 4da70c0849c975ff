#!/usr/bin/env bash
# Writes both constraints files anew from pyproject.toml: the newest versions its ranges allow, with the hashes of every
# file, for every platform and Python from 3.11 on. Needs `uv`. Neither file names an index: that is the machine's choice.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
    local target=$1
    shift
    uv pip compile pyproject.toml "$@" --output-file "$target" --quiet --upgrade \
        --generate-hashes --universal --python-version 3.11 \
        --no-emit-index-url --no-emit-find-links --no-annotate --no-header
    if grep -nE '^-|://|file:|@ ' "$target"; then
        echo "$target: the lines above name a place; a constraints file holds names, versions and hashes only" >&2
        exit 1
    fi
}

compile constraints-dev.txt --group dev
# The runtime alone, with the same versions: what `make demo` and a deployment install.
compile constraints.txt --group build --constraint constraints-dev.txt
