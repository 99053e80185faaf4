#!/bin/sh
# Runs a command and says only what it is for; shows its output if it fails. Usage: quietly.sh 'what it does' command...
set -u
what=$1
shift
echo "ishowtts: $what" >&2
[ -z "${VERBOSE:-}" ] || exec "$@"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$@" >"$log" 2>&1
code=$?
if [ "$code" -ne 0 ]; then
    cat "$log" >&2
    echo "ishowtts: $what failed (exit code $code); its output is above" >&2
fi
exit "$code"
