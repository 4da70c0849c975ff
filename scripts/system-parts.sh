#!/usr/bin/env bash
# Installs what the tests need beside Python, where that is allowed: as root (or with a sudo that asks nothing) on a system
# with apt-get. Never fails: a test whose part is missing says so and is skipped (and fails where CI=true is set).
set -uo pipefail

# part: how to see that it is there: the Debian packages that bring it
have_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; }

have_tinyproxy() { command -v tinyproxy >/dev/null; }

missing=()
have_postgresql || missing+=(postgresql)
have_tinyproxy || missing+=(tinyproxy)
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true >/dev/null 2>&1; then
        echo "Not root: ${missing[*]} not installed; the tests that need it are skipped." >&2
        exit 0
    fi
    as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null; then
    echo "No apt-get here: install ${missing[*]} yourself; the tests that need it are skipped." >&2
    exit 0
fi

# Bounded, so that a machine without a network does not wait for ever.
apt() {
    timeout 600 "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 \
        -o Acquire::http::Timeout=30 -o DPkg::Lock::Timeout=120 "$@" >/dev/null
}

# The tests start private clusters of their own; Debian's package would also make and start a system-wide one.
install_postgresql() {
    local conf=/etc/postgresql-common/createcluster.conf
    apt install --yes --no-install-recommends postgresql-common || return
    "${as_root[@]}" sed -i.tunerd 's/^#\?create_main_cluster .*/create_main_cluster = false/' "$conf"
    apt install --yes --no-install-recommends postgresql
    local outcome=$?
    "${as_root[@]}" mv "$conf.tunerd" "$conf" # as it was: later installs are none of our business
    return $outcome
}

# The program alone: the package tinyproxy would also start it for the whole system.
install_tinyproxy() { apt install --yes --no-install-recommends tinyproxy-bin; }

echo "Installing system parts for the tests: ${missing[*]}"
apt update || echo "apt-get update failed; trying with what is known" >&2
for part in "${missing[@]}"; do
    "install_$part" || echo "$part could not be installed; the tests that need it are skipped." >&2
done
exit 0
