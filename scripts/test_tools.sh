#!/bin/sh
# Installs the programs that tests use beside the package's own, where that needs no password; else says which tests are
# skipped; with TEST_TOOLS=required, as in CI, that is a failure. Lines: command, Debian packages.
set -u
tools="chromium chromium
espeak-ng espeak-ng
ffmpeg ffmpeg
/usr/sbin/ngircd ngircd
openssl openssl
sox sox libsox-fmt-mp3 libsox-fmt-base"

missing=$(echo "$tools" | while read -r tool packages; do
    command -v "$tool" >/dev/null 2>&1 || echo "$tool $packages"
done)
[ -n "$missing" ] || exit 0

if command -v apt-get >/dev/null 2>&1; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    export DEBIAN_FRONTEND=noninteractive
    packages=$(echo "$missing" | cut -d' ' -f2-)
    # shellcheck disable=SC2086
    install() { $as_root apt-get install --yes --quiet --no-install-recommends $packages; }
    install >/dev/null 2>&1 || { $as_root apt-get update --quiet && install; } >/dev/null 2>&1
fi
lacking=$(echo "$missing" | while read -r tool _; do
    command -v "$tool" >/dev/null 2>&1 || echo "tests that use $tool are skipped: it is not installed"
done)
[ -n "$lacking" ] || exit 0
echo "$lacking" >&2
[ "${TEST_TOOLS:-}" != required ]
