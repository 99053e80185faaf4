#!/bin/sh
# Says plainly what this machine lacks, all of it at once. Usage: preflight.sh [python] [rust] [libpython]
set -u
cd "$(dirname "$0")/.." || exit 1
missing=""
lack() { missing="$missing
  - $1
      $2"; }

need_python() {
    python=$(scripts/find_python.sh)
    if [ -z "$python" ]; then
        lack "Python 3.10 or newer" "Debian, Ubuntu: apt-get install python3 python3-venv; or set PYTHON=/path/to/python3"
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        lack "the venv module of $python" "Debian, Ubuntu: apt-get install python3-venv"
    fi
}

need_rust() {
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    if ! command -v cargo >/dev/null 2>&1 || ! command -v rustc >/dev/null 2>&1; then
        lack "cargo (Rust $wanted or newer)" "get it from https://rustup.rs, then open a new shell"
    else
        have=$(rustc --version | cut -d' ' -f2)
        oldest=$(printf '%s\n%s\n' "$wanted" "$have" | sort -t. -k1,1n -k2,2n | head -n 1)
        [ "$oldest" = "$wanted" ] || [ "${have%.*}" = "$wanted" ] ||
            lack "Rust $wanted or newer (this one is $have)" "rustup update stable"
    fi
    probe=$(mktemp -d)
    if ! echo 'int main(void) { return 0; }' | cc -x c -o "$probe/a.out" - 2>/dev/null; then
        lack "a C compiler and linker (cc)" \
            "Debian, Ubuntu: apt-get install build-essential; Fedora: dnf install gcc; macOS: xcode-select --install"
    fi
    rm -rf "$probe"
}

need_libpython() {
    .venv/bin/python - <<'PY' || lack "libpython, which the Rust tests link" "Debian, Ubuntu: apt-get install python3-dev"
import pathlib, sys, sysconfig
names = ("LDLIBRARY", "LIBRARY")
folders = [sysconfig.get_config_var(name) for name in ("LIBDIR", "LIBPL")]
files = [pathlib.Path(folder, sysconfig.get_config_var(name) or "-") for folder in folders if folder for name in names]
framework = bool(sysconfig.get_config_var("PYTHONFRAMEWORK"))
sys.exit(0 if framework or any(file.exists() for file in files) else 1)
PY
}

for need in "$@"; do "need_$need"; done
if [ -n "$missing" ]; then
    echo "ishowtts: this machine lacks:$missing" >&2
    exit 1
fi
