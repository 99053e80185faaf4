"""A flood of chat while the server is killed: is every paid message said, and said once?

    .venv/bin/python benches/chat_soak.py [--messages 20000] [--paid 200] [--kills 5] [--rate 400] [--retried 2000]
        [--cache-mib 0]

The flood comes by IRC: viewers talk to a real ngircd, and a relay adds what Twitch adds. What is said while the server
is down is lost, as Twitch sends no history; what the server has stored must not be. Beside it, a client sends messages
through `POST /v1/chat/enqueue`, again and again until each has an answer: none of those may be missing. The rules are
on, but those against floods; some messages hold a banned word, and must never be heard. One overlay plays as fast as it
can and keeps what it finished, as a page does. Now and then the server is killed with SIGKILL. In the end every paid
item must have been finished exactly once: at the overlay, in what the server counted, and in its database. Once the
server that stays has had as many messages as it remembers, its memory is watched, and must not grow any more; a cache
of results would until it is full, so there is none if not asked for.
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
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import programs

from chat import settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from chat_relay import Relay, Viewer, message_id
from overlay import Heard, Overlay

BANNED = "cabbage"
OPEN = ["chat.rules.duplicate_window_s=0", "chat.queue.keep=1000000", f'chat.rules.banned_words=["{BANNED}"]']
"""No rule against floods; nothing is forgotten before it was counted."""
ENGINE = ["--engine", "fake"]
REMEMBERED = 8192
"""Messages that a server knows again: until it has had as many, its memory grows as it is meant to."""
MOST_GROWTH_PERCENT = 5.0
"""From the first quarter of the time that is watched to the last."""
VIEWERS = 50
BANNED_EVERY = 40
PATIENCE_S = 900


class Killed:
    """A server that is started again in the same home."""

    def __init__(self, home: Path, relay: Relay, cache_mib: int) -> None:
        self.home = home
        self.relay = relay
        assigned = [*OPEN, f"speech.cache_mib={cache_mib}"]
        self.arguments = [*ENGINE, *settings(relay), *(part for setting in assigned for part in ("--set", setting))]
        self.service = programs.at_home(home, self.arguments)
        self.listening()

    @property
    def port(self) -> int:
        return self.service.port

    def listening(self) -> None:
        wait(lambda: bool(self.relay.clients), "the server to be in the channel")

    def kill(self) -> None:
        self.service.process.send_signal(signal.SIGKILL)
        self.service.process.wait()
        self.service = programs.at_home(self.home, self.arguments)
        self.listening()

    def queue(self) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", "/v1/chat/queue")
            return dict(json.loads(connection.getresponse().read()))
        finally:
            connection.close()

    def items(self) -> list[tuple[int, str, str, dict[str, Any]]]:
        """Of the database: sequence, the platform's id, state, content."""
        with contextlib.closing(sqlite3.connect(self.home / "data/ishowtts/chat/chat.sqlite3")) as database:
            rows = database.execute("SELECT sequence, message, state, item FROM items").fetchall()
        return [(sequence, message, state, json.loads(item)) for sequence, message, state, item in rows]


class Flood(threading.Thread):
    """Viewers who say so many messages, so many a second, never in a burst: the IRC server throws out who floods it."""

    def __init__(self, relay: Relay, total: int, paid: int, rate: float) -> None:
        super().__init__(daemon=True)
        self.viewers = [Viewer(relay, f"viewer{number}", "bar") for number in range(VIEWERS)]
        self.rate = rate
        self.said = [self._message(index, total // paid) for index in range(total)]
        self.count = 0

    @staticmethod
    def _message(index: int, paid_every: int) -> str:
        if index % paid_every == 0:
            return f"cheer100 this is number {index}, well done"
        return f"number {index} is about {BANNED}" if index % BANNED_EVERY == 1 else f"this is number {index} of many"

    def run(self) -> None:
        began = time.perf_counter()
        for index, text in enumerate(self.said):
            time.sleep(max(began + index / self.rate - time.perf_counter(), 0.5 / self.rate))
            self.viewers[index % VIEWERS].say(text)
            self.count = index + 1

    @property
    def banned(self) -> int:
        return sum(BANNED in text for text in self.said)

    def ids(self) -> dict[str, str]:
        """Twitch's id of each paid message, and its text."""
        speakers = (self.viewers[index % VIEWERS].nick for index in range(len(self.said)))
        pairs = zip(speakers, self.said, strict=True)
        return {message_id(nick, text): text for nick, text in pairs if text.startswith("cheer100")}


class Retrying(threading.Thread):
    """A client that sends each message until it has an answer, at an even pace over the flood's time."""

    def __init__(self, server: Killed, total: int, paid: int, over_s: float) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.pause_s = over_s / max(1, total)
        self.messages = [self._message(index, max(1, total // max(1, paid))) for index in range(total)]
        self.answers: dict[str, dict[str, Any]] = {}
        self.retries = 0

    @staticmethod
    def _message(index: int, paid_every: int) -> dict[str, Any]:
        user = {"platform": "youtube", "user": f"viewer {index % 300}", "user_id": str(index % 300)}
        message = {**user, "text": f"This is message number {index}, hello!", "id": f"m{index}"}
        return message | ({"paid": {"amount": "2.50", "currency": "EUR"}} if index % paid_every == 0 else {})

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        began = time.perf_counter()
        for index, message in enumerate(self.messages):
            time.sleep(max(0.0, began + index * self.pause_s - time.perf_counter()))
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
                except (OSError, http.client.HTTPException, ValueError):
                    self.retries += 1
                    connection = None
                    time.sleep(0.05)


def soak(arguments: argparse.Namespace) -> dict[str, Any]:
    home = Path(tempfile.mkdtemp(prefix="ishowtts-soak-"))
    with Relay(home) as relay:
        server = Killed(home, relay, arguments.cache_mib)
        flood = Flood(relay, arguments.messages, arguments.paid, arguments.rate)
        over_s = arguments.messages / arguments.rate
        retrying = Retrying(server, arguments.retried, arguments.retried // 20, over_s)
        began = time.perf_counter()
        memory_mib: list[float] = []
        with Overlay(lambda: server.port, home / "finished") as overlay:
            flood.start()
            retrying.start()
            for kill in range(arguments.kills):
                # More than half is for the memory.
                due = arguments.messages // 2 * (kill + 1) // (arguments.kills + 1)
                wait(lambda due=due: flood.count >= due, "messages")
                server.kill()
            before = flood.count
            wait(lambda: flood.count - before >= REMEMBERED or not flood.is_alive(), "what the server remembers")
            while flood.is_alive() or retrying.is_alive():
                memory_mib.append(server.service.resident_mib())
                time.sleep(0.5)
            flood_s = time.perf_counter() - began
            wait(lambda: not any(map(server.queue().get, ("waiting", "playing"))), "everything to be heard")
            took_s = time.perf_counter() - began
            heard, errors = overlay.heard, overlay.errors
        server.service.end()
        counted = Counted(server.items(), heard)
    answered = {name: answer for name, answer in retrying.answers.items() if answer.get("accepted")}
    known = {message for _, message, *_ in counted.items}
    paid_by_irc = flood.ids()
    return {
        "messages_by_irc": arguments.messages,
        "messages_by_enqueue": arguments.retried,
        "kills": arguments.kills,
        "flood_s": round(flood_s, 1),
        "seconds": round(took_s, 1),
        "irc_messages_a_second": round(arguments.messages / flood_s, 1),
        "stored": len(counted.items),
        "banned": flood.banned,
        "lost_by_irc_while_the_server_was_down": arguments.messages - flood.banned - counted.of("twitch"),
        "paid_said_by_irc": len(paid_by_irc),
        "paid_of_irc_stored": len(paid_by_irc.keys() & known),
        "paid_stored": len(counted.paid),
        "paid_finished_in_database": counted.finished_in_database,
        "paid_finished_at_overlay": len(counted.at_overlay & counted.paid),
        "paid_finished_twice_at_overlay": counted.twice,
        "paid_counted_twice": counted.counted_twice,
        "enqueued_and_answered": len(answered),
        "enqueued_and_missing": len(answered.keys() - known),
        "retries": retrying.retries,
        "dropped_as_the_queue_was_full": counted.dropped,
        "heard": len(counted.at_overlay),
        "banned_heard": counted.banned,
        "overlay_errors": len(errors),
        "cache_mib": arguments.cache_mib,
        **memory(memory_mib),
    }


def memory(resident_mib: list[float]) -> dict[str, Any]:
    """By quarters of the time, and the growth from the first to the last; null where too few messages came to tell."""
    quarter = len(resident_mib) // 4
    if quarter == 0:
        return {"resident_mib_by_quarters": None, "growth_percent": None}
    quarters = [sum(resident_mib[first : first + quarter]) / quarter for first in range(0, 4 * quarter, quarter)]
    return {
        "resident_mib_by_quarters": [round(mib, 1) for mib in quarters],
        "growth_percent": round(100 * (quarters[-1] / quarters[0] - 1), 2),
    }


class Counted:
    """What became of the stored items, by the database and by the overlay. Both know them by their sequence."""

    def __init__(self, items: list[tuple[int, str, str, dict[str, Any]]], heard: Heard) -> None:
        self.items = items
        finished = [int(name.rpartition("-")[2]) for name in heard.finished]
        counted = [int(name.rpartition("-")[2]) for name in heard.counted]
        self.paid = {sequence for sequence, _, _, item in items if item["priority"] == "paid"}
        self.at_overlay = set(finished)
        self.finished_in_database = sum(state == "finished" for sequence, _, state, _ in items if sequence in self.paid)
        self.twice = repeated(finished, self.paid)
        self.counted_twice = repeated(counted, self.paid)
        self.dropped = sum(state == "dropped" for _, _, state, _ in items)
        self.items_of = Counter(item["message"]["platform"] for *_, item in items)
        self.banned = sum(BANNED in item["text"] for sequence, _, _, item in items if sequence in self.at_overlay)

    def of(self, platform: str) -> int:
        return self.items_of[platform]


def repeated(names: list[int], among: set[int]) -> int:
    found = [name for name in names if name in among]
    return len(found) - len(set(found))


def wait(condition: Callable[[], bool], what: str) -> None:
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
    parser.add_argument("--rate", type=float, default=400.0, help="messages a second by IRC")
    parser.add_argument("--retried", type=int, default=2_000, help="messages through enqueue; one in twenty is paid")
    parser.add_argument("--cache-mib", type=int, default=0, help="of results")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    machine = programs.machine()
    figures = soak(arguments)
    print(json.dumps(figures, indent=2))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"machine": machine, "soak": figures}, indent=2) + "\n")
    paid = figures["paid_stored"]
    right = (
        figures["paid_finished_at_overlay"] == paid == figures["paid_finished_in_database"]
        and not figures["paid_finished_twice_at_overlay"]
        and not figures["paid_counted_twice"]
        and figures["enqueued_and_answered"] == arguments.retried
        and not figures["enqueued_and_missing"]
        and not figures["banned_heard"]
        and (figures["growth_percent"] is None or figures["growth_percent"] <= MOST_GROWTH_PERCENT)
    )
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
