"""Twitch's chat for tests: a real IRC server (ngircd) behind a relay that adds what Twitch adds to IRC: the WebSocket
over TLS, the tags of messages, RECONNECT, CLEARCHAT and CLEARMSG.

Viewers talk plain IRC to the same server.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from harness import free_port, wait_until
from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

T = TypeVar("T")

NGIRCD = shutil.which("ngircd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

CONFIG = """
[Global]
Name = irc.test
Info = a chat for tests
Listen = 127.0.0.1
Ports = {port}
[Limits]
ConnectRetry = 60
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxNickLength = 25
MaxPenaltyTime = 0
PingTimeout = 600
PongTimeout = 60
[Options]
DNS = no
Ident = no
PAM = no
Syslog = no
"""

SAID = re.compile(r":(?P<nick>[^!]+)!\S+ PRIVMSG (?P<channel>#\S+) :(?P<text>.*)")
KAPPA = re.compile(r"\bKappa\b")


def certificates(directory: Path) -> tuple[Path, Path, Path]:
    """An authority's certificate, and one of this machine that it vouches for, with its key."""
    authority, signing = directory / "ca.pem", directory / "ca.key"
    certificate, key, request = directory / "relay.pem", directory / "relay.key", directory / "relay.csr"
    extensions = directory / "relay.ext"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n", encoding="utf-8")
    fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    signed: list[str | Path] = ["-CA", authority, "-CAkey", signing, "-CAcreateserial", "-days", "2"]
    commands: list[list[str | Path]] = [
        ["req", "-x509", *fresh, "-subj", "/CN=authority", "-keyout", signing, "-out", authority],
        ["req", "-new", *fresh[:-2], "-subj", "/CN=localhost", "-keyout", key, "-out", request],
        ["x509", "-req", *signed, "-in", request, "-extfile", extensions, "-out", certificate],
    ]
    for command in commands:
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return authority, certificate, key


def message_id(nick: str, text: str) -> str:
    """The same on every connection, as Twitch's are. So no text may be said twice."""
    return hashlib.sha1(f"{nick} {text}".encode()).hexdigest()


def user_id(nick: str) -> str:
    return str(int(hashlib.sha1(nick.encode()).hexdigest()[:7], 16))


def tagged(line: str) -> str:
    """An IRC server's line as Twitch sends it."""
    said = SAID.fullmatch(line)
    if said is None:
        return line
    nick, text = said["nick"], said["text"]
    tags = {
        "badges": "subscriber/1" if nick.startswith("sub") else "",
        "bits": "100" if "cheer100" in text else "",
        "display-name": nick.capitalize(),
        "emotes": ",".join(f"{kappa.start()}-{kappa.end() - 1}" for kappa in KAPPA.finditer(text)),
        "id": message_id(nick, text),
        "room-id": "1",
        "tmi-sent-ts": str(int(time.time() * 1000)),
        "user-id": user_id(nick),
    }
    if tags["emotes"]:
        tags["emotes"] = f"25:{tags['emotes']}"
    kept = ";".join(f"{key}={value}" for key, value in tags.items() if key != "bits" or value)
    return f"@{kept} {line}"


class Relay:
    """Context manager. Its event loop has a thread of its own."""

    def __init__(self, directory: Path) -> None:
        assert NGIRCD is not None
        self.directory = directory
        self.irc_port = free_port()
        config = directory / "ngircd.conf"
        config.write_text(CONFIG.format(port=self.irc_port), encoding="utf-8")
        config.chmod(0o644)
        self.authority, certificate, key = certificates(directory)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)
        self.irc = subprocess.Popen(
            [NGIRCD, "--nodaemon", "--config", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.loop = asyncio.new_event_loop()
        self.clients: list[ServerConnection] = []
        """Those that are in a channel, the newest last."""
        self.joined = 0
        self.seen_to_come = 0
        """How often a client was told that another one has joined."""
        self.heard: list[str] = []
        """What clients said to the relay."""
        self.sent_at: dict[str, float] = {}
        """When each text, or line of the server's own, was last put on a client's socket (`time.perf_counter`)."""
        self.port = 0

    def __enter__(self) -> Relay:
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        wait_until(self._irc_is_up, "the IRC server to listen")
        self.server = self.run(self._serve())
        self.port = next(iter(self.server.sockets)).getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
        self.run(self.server.wait_closed())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.irc.terminate()
        self.irc.wait()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    @property
    def url(self) -> str:
        return f"wss://localhost:{self.port}"

    def say(self, line: str) -> None:
        """To every client in the channel, as the server itself."""
        self.run(self._say(line))

    def withdraw(self, nick: str, text: str, channel: str) -> float:
        """When that was sent."""
        line = f"@login={nick};target-msg-id={message_id(nick, text)} :tmi.twitch.tv CLEARMSG #{channel} :{text}"
        self.say(line)
        return self.sent_at[line]

    def ban(self, nick: str, channel: str) -> float:
        """When that was sent."""
        line = f"@room-id=1;target-user-id={user_id(nick)} :tmi.twitch.tv CLEARCHAT #{channel} :{nick}"
        self.say(line)
        return self.sent_at[line]

    def reconnect(self) -> None:
        """As Twitch before maintenance: a word of warning. The old connection ends once its successor has come and it
        was told itself what was said before."""
        before, old = self.seen_to_come, list(self.clients)
        self.say(":tmi.twitch.tv RECONNECT")
        wait_until(lambda: self.seen_to_come > before, "the client to come back")
        self.run(self._close(old))

    def drop(self) -> None:
        """Without a word."""
        for client in list(self.clients):
            self.loop.call_soon_threadsafe(client.transport.abort)

    def _irc_is_up(self) -> bool:
        assert self.irc.poll() is None, f"the IRC server ended with {self.irc.returncode}"
        try:
            socket.create_connection(("127.0.0.1", self.irc_port), timeout=1).close()
        except OSError:
            return False
        return True

    async def _serve(self) -> WebSocketServer:
        server: WebSocketServer = await serve(self._client, "127.0.0.1", 0, ssl=self.tls, ping_interval=None)
        return server

    async def _say(self, line: str) -> None:
        for client in list(self.clients):
            self.sent_at[line] = time.perf_counter()
            await client.send(f"{line}\r\n")

    async def _close(self, clients: list[ServerConnection]) -> None:
        for client in clients:
            await client.close()

    async def _client(self, client: ServerConnection) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.irc_port)
        relaying = asyncio.create_task(self._to_client(client, reader))
        try:
            async for frame in client:
                text = frame if isinstance(frame, str) else frame.decode()
                for line in text.split("\r\n"):
                    await self._from_client(client, writer, line)
        except ConnectionClosed:
            pass
        finally:
            if client in self.clients:
                self.clients.remove(client)
            relaying.cancel()
            writer.close()

    async def _from_client(self, client: ServerConnection, writer: asyncio.StreamWriter, line: str) -> None:
        if not line:
            return
        self.heard.append(line)
        command, _, rest = line.partition(" ")
        if command == "CAP":
            await client.send(f":tmi.twitch.tv CAP * ACK {rest.removeprefix('REQ ')}\r\n")
        elif command == "NICK":
            # Twitch lets the same user in twice, and knows no USER.
            nick = f"{rest}x{len(self.heard)}"
            writer.write(f"NICK {nick}\r\nUSER {nick} 0 * :viewer\r\n".encode())
        elif command != "PASS":
            writer.write(f"{line}\r\n".encode())

    async def _to_client(self, client: ServerConnection, reader: asyncio.StreamReader) -> None:
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            self.seen_to_come += client in self.clients and " JOIN " in line and line.startswith(":justinfan")
            if line.split(" ")[1:2] == ["366"]:
                self.clients.append(client)
                self.joined += 1
            if said := SAID.fullmatch(line):
                self.sent_at[said["text"]] = time.perf_counter()
            await client.send(f"{tagged(line)}\r\n")


class Viewer:
    """Somebody in the chat."""

    def __init__(self, relay: Relay, nick: str, channel: str) -> None:
        self.nick, self.channel = nick, channel
        self.socket = socket.create_connection(("127.0.0.1", relay.irc_port), timeout=30)
        self.send(f"NICK {nick}", f"USER {nick} 0 * :viewer", f"JOIN #{channel}")
        told = b""
        while b" 366 " not in told:
            more = self.socket.recv(4096)
            assert more, told
            told += more
        # Who does not read what others say is thrown out once the IRC server's buffer for them is full.
        self.socket.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while self.socket.recv(1 << 16):
                pass

    def send(self, *lines: str) -> None:
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def say(self, *texts: str) -> None:
        self.send(*(f"PRIVMSG #{self.channel} :{text}" for text in texts))

    def leave(self) -> None:
        self.socket.close()
