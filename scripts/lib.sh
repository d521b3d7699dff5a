# shellcheck shell=bash
# What the scripts of this folder share. Sourced, never run.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Everything fetched: checked once, kept, and left out of git.
cache=$root/.cache
# Machines that have a tool of their own use it; the kept ones come last.
PATH=$PATH:$HOME/.cargo/bin:$cache/tools/bin
export PATH

say() {
    printf '%s\n' "$*"
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# as_root COMMAND...: runs it as root, through sudo where needed.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        fail "this needs root and there is no sudo; as root, run: $*"
    fi
}

# has_sum FILE SHA256: whether the file is there and right.
has_sum() {
    [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d ' ' -f 1)" = "$2" ]
}

# check_sum FILE SHA256: ends the script, without the file, if what was fetched is not what was pinned.
check_sum() {
    if ! has_sum "$1" "$2"; then
        rm -f "$1"
        fail "$(basename "$1") does not have the SHA-256 $2 and was removed; try again, and if it fails again," \
            "its source has changed: ${0##*/} pins what was reviewed"
    fi
}

# temporary_folder: a folder in the cache that goes when the script ends; sets $temporary.
temporary_folder() {
    mkdir -p "$cache"
    temporary=$(mktemp -d "$cache/.fetch.XXXXXX")
    trap 'rm -rf "$temporary"' EXIT
}

# python_environment NAME: makes $cache/NAME hold what requirements/NAME.txt pins, each file checked by pip.
python_environment() {
    local folder=$cache/$1 list=$root/scripts/requirements/$1.txt stamp
    stamp=$(sha256sum "$list" | cut -d ' ' -f 1)
    if [ "$(cat "$folder/.made-from" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    say "fetching the Python packages of requirements/$1.txt"
    rm -rf "$folder"
    python3 -m venv "$folder" || fail "python3 -m venv does not work; run scripts/setup"
    "$folder/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r "$list" ||
        fail "pip could not install requirements/$1.txt; the message above says why"
    printf '%s\n' "$stamp" >"$folder/.made-from"
}
