"""``ishowtts chat``: what a streamer needs beside the studio. Must not import the engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ishowtts.cli.failure import Failure

if TYPE_CHECKING:
    from ishowtts._native import Config

TOKEN_FILE = "overlay-token"


def token(config: Config) -> str:
    """The overlay's token, which the server makes when it is first started.

    Raises Failure if it cannot be read.
    """
    settings = {key: value for key, value, _ in config.explain()}
    path = Path(json.loads(settings["chat.directory"])) / TOKEN_FILE
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        raise Failure(f"there is no {path}", "start the server once: it makes the token") from None
    except OSError as error:
        raise Failure(f"{path} cannot be read ({error.strerror})", "only the user who runs the server may") from error


def overlay_address(config: Config) -> str:
    """What OBS is given as the address of a browser source."""
    host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{config.port}/overlay?token={token(config)}"
