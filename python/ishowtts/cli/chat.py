"""``ishowtts chat``: what a streamer needs beside the studio. Must not import the engines."""

from __future__ import annotations

import enum
import http.client
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ishowtts.cli.failure import Failure

if TYPE_CHECKING:
    from ishowtts._native import Config

CONTROL_FILE = "control-token"
OVERLAY_FILE = "overlay-token"
ANSWER_S = 30.0
POLL_S = 1.0


def token(config: Config, file: str = CONTROL_FILE) -> str:
    """The control token, or the overlay's. The server makes them when it is first started.

    Raises Failure if it cannot be read.
    """
    path = _directory(config) / file
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        raise Failure(f"there is no {path}", "start the server once: it makes the tokens") from None
    except OSError as error:
        raise Failure(f"{path} cannot be read ({error.strerror})", "only the user who runs the server may") from error


def addresses(config: Config) -> str:
    """Of the studio, and of the overlay, which OBS is given for a browser source."""
    host = _host(config)
    server = f"http://{f'[{host}]' if ':' in host else host}:{config.port}"
    return f"studio   {server}/#token={token(config)}\noverlay  {server}/overlay?token={token(config, OVERLAY_FILE)}"


def _directory(config: Config) -> Path:
    settings = {key: value for key, value, _ in config.explain()}
    return Path(json.loads(settings["chat.directory"]))


def _host(config: Config) -> str:
    return "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host


class Platform(str, enum.Enum):
    """Where the server can sign in."""

    TWITCH = "twitch"


def sign_in(config: Config, platform: Platform) -> None:
    """Has the running server sign in, and waits until somebody has agreed. The server goes on if this ends before.

    Raises Failure if there is no server, or nobody agreed.
    """
    path = f"/v1/chat/{platform.value}/sign-in"
    told = _ask(config, "POST", path)
    if told["state"] == "pending":
        print(f"open {told['address']} and type {told['user_code']}", flush=True)
    while told["state"] == "pending":
        time.sleep(POLL_S)
        told = _ask(config, "GET", path)
    if told["state"] != "done":
        raise Failure(told.get("reason", "the sign-in is over"), "run it again for another code")
    print(f"signed in as {told['login']}" if told["login"] else "signed in")


def _ask(config: Config, method: str, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(_host(config), config.port, timeout=ANSWER_S)
    try:
        connection.request(method, path, headers=_credentials(config))
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = f"no server answers at {_host(config)}:{config.port} ({error})"
        raise Failure(cause, "`ishowtts serve` starts one") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise Failure(answer.get("error", {}).get("message", f"the server answered {response.status}"))
    return dict(answer)


def _credentials(config: Config) -> dict[str, str]:
    """Not every server asks for a token: without one it is asked as it is, and tells what it wants."""
    try:
        return {"Authorization": f"Bearer {token(config)}"}
    except Failure:
        return {}
