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

# find_node: puts Node.js with its npm client on the path, fetched where the machine has none or an old one.
find_node() {
    if ! have npm || [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
        python_environment npm
        PATH=$cache/npm/bin:$PATH
    fi
}

# node_packages NAME: makes $cache/NAME hold what requirements/NAME/package-lock.json pins, each file checked by npm.
node_packages() {
    local folder=$cache/$1 pinned=$root/scripts/requirements/$1 stamp
    stamp=$(cat "$pinned/package.json" "$pinned/package-lock.json" | sha256sum)
    if [ "$(cat "$folder/.made-from" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    find_node
    say "fetching the Node.js packages of requirements/$1"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$pinned/package.json" "$pinned/package-lock.json" "$folder"
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null) ||
        fail "npm could not install requirements/$1; the message above says why"
    printf '%s\n' "$stamp" >"$folder/.made-from"
}
