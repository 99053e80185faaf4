"""``ishowtts serve``. Stays resident as long as the server, so it must not import typer or rich."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import types
from typing import TYPE_CHECKING, NoReturn

from ishowtts.cli import settings
from ishowtts.cli.failure import EXIT_ENGINE_BROKEN, EXIT_INTERRUPTED, EXIT_USAGE, usage

if TYPE_CHECKING:
    from ishowtts._native import Runtime


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise usage(message, f"`{program()} --help` shows what there is")


def program() -> str:
    """What was typed to get here."""
    return "ishowtts-server" if sys.argv[0] == "ishowtts-server" else "ishowtts serve"


def parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program(),
        description="Start the server. SIGINT or SIGTERM ends it once it has said what it was saying.",
        epilog="Settings come from defaults, a TOML file, ISHOWTTS_* variables and these options; later ones win. "
        "`ishowtts config show` lists them all.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help=settings.CONFIG_HELP)
    parser.add_argument("--host", help="The address to listen on; 127.0.0.1: this machine only.")
    parser.add_argument("--port", help="The port to listen on; 0: any free one.")
    parser.add_argument("--engine", help=settings.ENGINE_HELP)
    parser.add_argument("--accept-license", action="store_true", help=settings.LICENCE_HELP)
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help=settings.SET_HELP)
    return parser


def run(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    flags = {"--host": given.host, "--port": given.port, "--engine": given.engine}
    config = settings.load(given.config, flags, given.set)
    if given.accept_license:
        settings.accept_licence(config)

    runtime: Runtime | None = None
    asked_to_end: list[int] = []

    def shut_down(signum: int, _frame: types.FrameType | None) -> None:
        # Ctrl-C a second time: a person does not want to wait for what is in flight.
        if signum == signal.SIGINT and signal.SIGINT in asked_to_end:
            os._exit(EXIT_INTERRUPTED)
        asked_to_end.append(signum)
        if runtime is not None:
            runtime.shutdown()

    signal.signal(signal.SIGINT, shut_down)
    signal.signal(signal.SIGTERM, shut_down)
    runtime = settings.start(config)
    if asked_to_end:
        runtime.close()
        return 0
    code = runtime.serve()
    if code in (EXIT_ENGINE_BROKEN, EXIT_USAGE):
        # A thread may still hang in an engine, or load one, and would keep the interpreter from ending.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
