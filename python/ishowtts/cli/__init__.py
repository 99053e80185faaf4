"""The ``ishowtts`` command.

``serve`` is taken apart here with argparse, because typer and rich cost a server 11 MB of memory for its whole life;
every other command goes through typer (:mod:`ishowtts.cli.app`).

Exit codes: 0 done, 1 it failed, 2 the command line or the configuration is wrong, 70 an engine broke, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ishowtts.cli.failure import EXIT_FAILURE, EXIT_INTERRUPTED, Failure, as_failure, tell
from ishowtts.errors import IshowttsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. Faults of the user, the machine or an engine are one line each."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = _run(list(arguments))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has gone. Python flushes stdout once more at its end: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (Failure, IshowttsError, OSError) as error:
        failure = as_failure(error)
        tell(failure)
        return failure.exit_code


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["serve"]:
        from ishowtts.cli import serve

        return serve.run(arguments[1:])
    from ishowtts.cli import app

    return app.run(arguments)
