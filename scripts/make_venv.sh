#!/bin/sh
# Makes the virtual environment $1 anew, with a pip that knows dependency groups (25.1).
set -eu
rm -rf "$1"
"$("$(dirname "$0")/find_python.sh")" -m venv "$1"
"$1/bin/python" -m pip install --quiet --upgrade 'pip>=25.1'
