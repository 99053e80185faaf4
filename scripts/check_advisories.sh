#!/bin/sh
# Checks Cargo.lock against the RustSec advisories where their database can be reached. Usage: check_advisories.sh CARGO_DENY
set -u
export GIT_TERMINAL_PROMPT=0
if timeout 20 git ls-remote --exit-code https://github.com/RustSec/advisory-db HEAD >/dev/null 2>&1; then
    exec "$1" --log-level error check --hide-inclusion-graph advisories
fi
echo "ishowtts: advisories not checked: their database cannot be reached from here" >&2
