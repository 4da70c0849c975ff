#!/usr/bin/env bash
# Installs what the tests and benchmarks need beside Python, where that is allowed: as root (or with a sudo that asks
# nothing) on a system with apt-get. Never fails: a test whose part is missing says so and is skipped (and fails where CI=true is set).
# Usage: scripts/system-parts.sh [--list]; the list is PROGRAM PACKAGES, one a line
set -uo pipefail

# A program that the tests start, and the Debian packages that bring it. Every test starts its own: none is used as a
# service.
PARTS=(
    "postgres postgresql"
    "tinyproxy tinyproxy-bin"
    "nginx nginx libnginx-mod-stream"
    "caddy caddy"
    "haproxy haproxy"
    "chromium chromium"
    "systemd-socket-activate systemd"
    "bwrap bubblewrap"
    "prometheus prometheus"
    "aria2c aria2"
    "curl curl ca-certificates"
    "openssl openssl"
)

if [ "${1:-}" = --list ]; then
    printf '%s\n' "${PARTS[@]}"
    exit 0
fi

have() {
    local PATH=$PATH:/usr/sbin:/sbin
    case $1 in
        postgres) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

missing=() packages=()
for part in "${PARTS[@]}"; do
    read -r program needs <<<"$part"
    have "$program" && continue
    missing+=("$program")
    read -ra needs <<<"$needs"
    packages+=("${needs[@]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true >/dev/null 2>&1; then
        echo "Not root: ${missing[*]} not installed; the tests that need them are skipped." >&2
        exit 0
    fi
    as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null; then
    echo "No apt-get here: install ${missing[*]} yourself; the tests that need them are skipped." >&2
    exit 0
fi

# Bounded, so that a machine without a network does not wait for ever.
apt() {
    timeout 900 "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 \
        -o Acquire::http::Timeout=30 -o DPkg::Lock::Timeout=120 "$@" >/dev/null
}

# The packages would start servers for the whole system, and PostgreSQL's make a cluster: neither is wanted. Whatever
# stood in the way of that before is put back afterwards.
POLICY=/usr/sbin/policy-rc.d
CLUSTER=/etc/postgresql-common/createcluster.conf

hold_services() {
    "${as_root[@]}" test -e "$POLICY" && return
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$POLICY" >/dev/null
    "${as_root[@]}" chmod 755 "$POLICY"
    trap '"${as_root[@]}" rm -f "$POLICY"' EXIT
}

install_postgresql() {
    apt install --yes --no-install-recommends postgresql-common || return
    "${as_root[@]}" sed -i.tunerd 's/^#\?create_main_cluster .*/create_main_cluster = false/' "$CLUSTER"
    apt install --yes --no-install-recommends postgresql
    local outcome=$?
    "${as_root[@]}" mv "$CLUSTER.tunerd" "$CLUSTER" # as it was: later installs are none of our business
    return $outcome
}

echo "Installing system parts for the tests: ${missing[*]}"
apt update || echo "apt-get update failed; trying with what is known" >&2
hold_services
# All at once is quick; where one cannot be had, the others still are.
if [[ " ${missing[*]} " == *" postgres "* ]]; then
    install_postgresql || echo "PostgreSQL could not be installed; the tests that need it are skipped." >&2
fi
others=()
for package in "${packages[@]}"; do [ "$package" != postgresql ] && others+=("$package"); done
if [ ${#others[@]} -gt 0 ] && ! apt install --yes --no-install-recommends "${others[@]}"; then
    for package in "${others[@]}"; do
        apt install --yes --no-install-recommends "$package" ||
            echo "$package could not be installed; the tests that need it are skipped." >&2
    done
fi
exit 0
