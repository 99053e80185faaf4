#!/bin/sh
# Prints the first Python that is new enough: $PYTHON, python3, then the newest by name. Nothing if there is none.
for name in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    path=$(command -v "$name" 2>/dev/null) || continue
    if "$path" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        echo "$path"
        exit 0
    fi
done
