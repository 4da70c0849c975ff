#!/usr/bin/env bash
# Makes a virtual environment and installs the pinned dependencies and tunerd itself into it.
# Usage: scripts/setup.sh VENV CONSTRAINTS_FILE [WHEEL]; without a wheel the source tree itself (editable)
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
constraints=$2
if [ $# -ge 3 ]; then package=("$3"); else package=(--editable .); fi

# The first that really runs, is new enough and can make environments. A shim with no interpreter behind it, as version
# managers leave them, is found by running it and not by its name.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer is needed (tried: ${PYTHON:-} python3.13 python3.12 python3.11 python3)." \
        "Install one, or name it: make PYTHON=/path/to/python3" >&2
    return 1
}

# Networks fail for a moment: three tries, each with pip's own retries.
install() {
    local try
    for try in 1 2 3; do
        "${pip[@]}" install --quiet --disable-pip-version-check --no-input --retries 5 --timeout 60 "$@" && return
        echo "pip install failed (try $try of 3)" >&2
        sleep $((try * 3))
    done
    return 1
}

if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    python=$(find_python)
    echo "Making $venv with $("$python" --version)"
    # Debian's python3 lacks ensurepip until python3-venv is installed; any pip can install into a venv without one.
    "$python" -m venv --clear "$venv" >/dev/null 2>&1 || "$python" -m venv --clear --without-pip "$venv"
fi
if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    pip=("$venv/bin/python" -m pip)
else
    pip=("$(find_python)" -m pip --python "$venv/bin/python")
fi

echo "Installing $constraints into $venv"
# The file is complete (`make constraints` writes it), so nothing is left to resolve: quicker, and older releases of pip
# would take a newer `package[extra]` than the `package` that is pinned, and stop.
install --require-hashes --no-deps -r "$constraints"
install --no-deps --no-build-isolation "${package[@]}"
