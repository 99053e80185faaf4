"""A flood of chat while the server is killed: is every paid message said, and said once?

    .venv/bin/python benches/chat_soak.py [--messages 20000] [--paid 200] [--kills 5] [--senders 4]

Clients send the messages through `POST /v1/chat/enqueue`, again and again until each has an answer. One overlay plays
as fast as it can and keeps what it finished, as a page does. Now and then the server is killed with SIGKILL. In the end
every paid message must have been finished exactly once: at the overlay, in what the server counted, and in its
database. After the last kill the server's memory is watched while half of the messages are still to come.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import programs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from overlay import Overlay

SETTINGS = ["--engine", "fake", "--set", "speech.cache_mib=16", "--set", "log.level=error"]
PATIENCE_S = 900


class Flood:
    """Messages, and what became of them. Each sender has every n-th one."""

    def __init__(self, server: Killed, total: int, paid: int, senders: int) -> None:
        self.server = server
        self.messages = [self._message(index, total // paid) for index in range(total)]
        self.answers: dict[str, dict[str, Any]] = {}
        self.retries = 0
        self.threads = [
            threading.Thread(target=self._send, args=(self.messages[first::senders],), daemon=True)
            for first in range(senders)
        ]

    @staticmethod
    def _message(index: int, every: int) -> dict[str, Any]:
        message: dict[str, Any] = {
            "platform": "youtube",
            "user": f"viewer {index % 300}",
            "user_id": str(index % 300),
            "text": f"This is message number {index}, hello!",
            "id": f"m{index}",
        }
        if index % every == 0:
            message["paid"] = {"amount": "2.50", "currency": "EUR"}
        return message

    def _send(self, messages: list[dict[str, Any]]) -> None:
        connection: http.client.HTTPConnection | None = None
        for message in messages:
            while message["id"] not in self.answers:
                try:
                    if connection is None:
                        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
                    connection.request("POST", "/v1/chat/enqueue", json.dumps(message).encode())
                    response = connection.getresponse()
                    answer = json.loads(response.read())
                    if response.status != 202:
                        raise OSError(f"{response.status} {answer}")
                    self.answers[message["id"]] = answer
                except (OSError, http.client.HTTPException):
                    self.retries += 1
                    connection = None
                    time.sleep(0.05)

    @property
    def paid(self) -> list[str]:
        return [message["id"] for message in self.messages if "paid" in message]


class Killed:
    """A server that is started again in the same home."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ishowtts-soak-"))
        self.service = programs.at_home(self.home, SETTINGS)

    @property
    def port(self) -> int:
        return self.service.port

    def kill(self) -> None:
        self.service.process.send_signal(signal.SIGKILL)
        self.service.process.wait()
        self.service = programs.at_home(self.home, SETTINGS)


def soak(total: int, paid: int, kills: int, senders: int) -> dict[str, Any]:
    server = Killed()
    flood = Flood(server, total, paid, senders)
    began = time.perf_counter()
    memory_mib: list[float] = []
    with Overlay(lambda: server.port, server.home / "finished") as overlay:
        for thread in flood.threads:
            thread.start()
        for kill in range(kills):
            # The second half is for the memory.
            wait(lambda kill=kill: len(flood.answers) >= total // 2 * (kill + 1) // (kills + 1), "messages")
            server.kill()
        wait(lambda: len(flood.answers) >= total // 2, "half of the messages")
        while any(thread.is_alive() for thread in flood.threads):
            memory_mib.append(server.service.resident_mib())
            time.sleep(0.5)
        items = {flood.answers[name]["id"] for name in flood.paid}
        wait(lambda: items <= set(overlay.heard.finished), "the paid ones to be heard")
        took_s = time.perf_counter() - began
        time.sleep(1)
        heard = overlay.heard
        errors = overlay.errors
    server.service.end()
    with contextlib.closing(sqlite3.connect(server.home / "data/ishowtts/chat/chat.sqlite3")) as database:
        states = dict(database.execute("SELECT message, state FROM items WHERE message LIKE 'm%'").fetchall())
    counted = [name for name in heard.counted if name in items]
    finished = [name for name in heard.finished if name in items]
    quarter = max(1, len(memory_mib) // 4)
    before, after = sum(memory_mib[:quarter]) / quarter, sum(memory_mib[-quarter:]) / quarter
    return {
        "messages": total,
        "paid": len(items),
        "kills": kills,
        "seconds": round(took_s, 1),
        "messages_per_s": round(total / took_s, 1),
        "retries": flood.retries,
        "refused_or_dropped": sum(state == "dropped" for state in states.values()),
        "heard": len(heard.finished),
        "paid_finished_at_overlay": len(finished),
        "paid_finished_twice_at_overlay": len(finished) - len(set(finished)),
        "paid_counted_twice": len(counted) - len(set(counted)),
        "paid_finished_in_database": sum(states.get(name) == "finished" for name in flood.paid),
        "overlay_errors": len(errors),
        "resident_mib_after_the_last_kill": round(before, 1),
        "resident_mib_at_the_end": round(after, 1),
    }


def wait(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {PATIENCE_S} s for {what}")
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--paid", type=int, default=200)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--senders", type=int, default=4)
    arguments = parser.parse_args()
    figures = soak(arguments.messages, arguments.paid, arguments.kills, arguments.senders)
    print(json.dumps(figures, indent=2))
    right = (
        figures["paid_finished_at_overlay"] == figures["paid"] == figures["paid_finished_in_database"]
        and not figures["paid_finished_twice_at_overlay"]
        and not figures["paid_counted_twice"]
    )
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
