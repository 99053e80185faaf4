"""Our server beside the bare engine and beside what one would write instead, in one run.

    python benches/serve.py [--pairs N] [--blocks N] [--quick] [--only one,many,cache,health,ready,memory] [--out FILE]

See README.md in this folder for the method.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import programs
from figures import difference, paired, percentiles, ratio, table, told
from programs import OURS, Program, Service
from rivals import ORDERS
from texts import Texts

CLIENTS = 32
SAMPLE_RATE_HZ = 24_000
LONG_SENTENCE = (
    "Nobody had expected that the small boat would come back from so far away, but on the first evening of spring it "
    "lay in the harbour again, and people came out of their houses to look at it until it was late."
)


@dataclass
class Bench:
    """What scenarios share: the load generator, texts, how much to measure."""

    load: Program
    texts: Texts
    pairs: int
    blocks: int
    report: dict[str, Any]
    goals: list[tuple[str, str, str, bool]]

    def goal(self, what: str, wanted: str, reached: str, met: bool) -> None:
        self.goals.append((what, wanted, reached, met))

    def drive(self, service: Service, texts: list[str], connections: int = 1, **fields: Any) -> list[dict[str, Any]]:
        bodies = [{"input": text, "response_format": "pcm", "cache": False, **fields} for text in texts]
        measured: list[dict[str, Any]] = self.load.ask(
            {"port": service.port, "bodies": bodies, "connections": connections}
        )
        for one in measured:
            if one["status"] != 200 or not one["complete"] or one["ttfa_ms"] is None:
                raise RuntimeError(f"{service.name} did not speak: {one}")
        return measured


def started(stack: ExitStack) -> list[Service]:
    """All servers, ours first, each warmed with the same few texts."""
    services = [programs.ours(), *(programs.rival(order) for order in ORDERS)]
    for service in services:
        stack.callback(service.end)
    return services


def one_client(bench: Bench) -> None:
    """Every round asks all of them for the same new text, one after the other, each time in another order."""
    with ExitStack() as stack:
        services = started(stack)
        bare = programs.bare()
        stack.callback(bare.end)
        for service in services:
            bench.drive(service, [bench.texts.text(3) for _ in range(5)])
        for kind, sentences in (("one sentence", 1), ("three sentences", 3)):
            ask: dict[str, Callable[[str], dict[str, Any]]] = {"bare call": bare.ask}
            for service in services:
                ask[service.name] = lambda text, service=service: bench.drive(service, [text])[0]
            names = list(ask)
            measured: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
            for round_ in range(bench.pairs):
                text = bench.texts.text(sentences)
                turn = round_ % len(names)
                for name in names[turn:] + names[:turn]:
                    measured[name].append(ask[name](text))
            tell_one_client(bench, kind, measured)


def tell_one_client(bench: Bench, kind: str, measured: dict[str, list[dict[str, Any]]]) -> None:
    ttfa = {name: [one["ttfa_ms"] for one in ones] for name, ones in measured.items()}
    total = {name: [one["total_ms"] for one in ones] for name, ones in measured.items()}
    figures: dict[str, Any] = {}
    rows = []
    for name in measured:
        figures[name] = percentiles(ttfa[name], "ttfa_ms") | percentiles(total[name], "total_ms")
        figures[name]["ttfa_over_bare_ms"] = difference(ttfa[name], ttfa["bare call"])
        figures[name]["total_to_bare"] = ratio(total[name], total["bare call"])
        rows.append([name, *list(figures[name].values())[:4], told(figures[name]["ttfa_over_bare_ms"]),
                     told(figures[name]["total_to_bare"])])  # fmt: skip
    bench.report.setdefault("one_client", {})[kind] = figures
    header = ["", "ttfa p50", "p99", "total p50", "p99 ms", "ttfa over bare, ms", "total / bare"]
    print(table(f"One client, {kind}, {bench.pairs} rounds: ms; median of pairs [95 %]", header, rows), flush=True)
    over, times = figures[OURS]["ttfa_over_bare_ms"], figures[OURS]["total_to_bare"]
    bench.goal(f"1 client, {kind}: first sound over the bare call", "≤ 1 ms", told(over, " ms"), over["median"] <= 1)
    bench.goal(f"1 client, {kind}: total to the bare call", "≤ 1.06", told(times), times["median"] <= 1.06)


def many_clients(bench: Bench) -> None:
    """Thirty-two clients ask again and again. The first and the last request of each do not count: everyone arrives
    at once in the beginning, and in the end there are fewer than thirty-two."""
    counted = slice(CLIENTS, -CLIENTS)
    requests = 2 * CLIENTS + -(-bench.pairs // bench.blocks)
    with ExitStack() as stack:
        services = started(stack)
        measured: dict[str, list[dict[str, Any]]] = {service.name: [] for service in services}
        rates: dict[str, list[float]] = {service.name: [] for service in services}
        memory: dict[str, float] = {}
        for block in range(bench.blocks):
            texts = [bench.texts.text(3) for _ in range(requests)]
            turn = block % len(services)
            for service in services[turn:] + services[:turn]:
                ones = bench.drive(service, texts, CLIENTS)
                measured[service.name] += ones[counted]
                rates[service.name].append(speech_rate(ones))
                memory[service.name] = service.resident_mib()
        tell_many_clients(bench, measured, rates, memory)


def speech_rate(ones: list[dict[str, Any]]) -> float:
    """Seconds of speech made in a second while all clients were there: between the completions that bound the load."""
    ends = sorted((one["started_ms"] + one["total_ms"], one["samples"]) for one in ones)
    inner = ends[CLIENTS : len(ends) - CLIENTS]
    span_s = (inner[-1][0] - ends[CLIENTS - 1][0]) / 1e3
    return sum(samples for _, samples in inner) / SAMPLE_RATE_HZ / span_s


def tell_many_clients(
    bench: Bench,
    measured: dict[str, list[dict[str, Any]]],
    rates: dict[str, list[float]],
    memory: dict[str, float],
) -> None:
    ttfa = {name: [one["ttfa_ms"] for one in ones] for name, ones in measured.items()}
    total = {name: [one["total_ms"] for one in ones] for name, ones in measured.items()}
    figures: dict[str, Any] = {}
    rows = []
    for name in measured:
        figures[name] = percentiles(ttfa[name], "ttfa_ms") | percentiles(total[name], "total_ms")
        figures[name]["speech_s_per_s"] = round(float(np.median(rates[name])), 2)
        figures[name]["resident_mib"] = round(memory[name], 1)
        figures[name]["ttfa_times_ours"] = ratio(ttfa[name], ttfa[OURS])
        figures[name]["speech_rate_to_ours"] = ratio(rates[name], rates[OURS])
        rows.append([name, *list(figures[name].values())[:6], told(figures[name]["ttfa_times_ours"])])
    bench.report["many_clients"] = {"clients": CLIENTS, "sentences": 3, "systems": figures}
    header = ["", "ttfa p50", "p99", "total p50", "p99 ms", "speech s/s", "MiB", "ttfa / ours"]
    pairs = len(ttfa[OURS])
    print(table(f"{CLIENTS} clients, three sentences, {pairs} requests each in {bench.blocks} blocks", header, rows))
    sys.stdout.flush()
    free = "FastAPI, none"
    shorter = figures[free]["ttfa_ms_p50"] / figures[OURS]["ttfa_ms_p50"]
    interval = paired(ttfa[free], ttfa[OURS], np.divide)
    reached = f"{shorter:.1f} times (of pairs: {told(interval)})"
    bench.goal(f"{CLIENTS} clients: p50 to first sound, FastAPI without lock / ours", "≥ 20", reached, shorter >= 20)
    kept = ratio(rates[OURS], rates[free])
    bench.goal(
        f"{CLIENTS} clients: throughput, ours / FastAPI without lock", "≥ 0.95", told(kept), kept["median"] >= 0.95
    )


def cache_hit(bench: Bench) -> None:
    with ExitStack() as stack:
        service = programs.ours()
        stack.callback(service.end)
        rows = []
        for kind, sentences in (("one sentence", 1), ("three sentences", 3)):
            text = bench.texts.text(sentences)
            bench.drive(service, [text], cache=True)
            measured = bench.drive(service, [text] * (bench.pairs * 5), cache=True)
            figures = percentiles([one["total_ms"] for one in measured], "total_ms")
            figures["kib"] = round(measured[0]["samples"] * 2 / 1024, 1)
            bench.report.setdefault("cache_hit", {})[kind] = figures
            rows.append([kind, *figures.values()])
            p50 = figures["total_ms_p50"]
            bench.goal(f"cache hit, {kind}: p50 to the last byte", "< 1 ms", f"{p50:.3f} ms", p50 < 1)
        print(table("Cache hit, to the last byte, ms", ["", "p50", "p99", "KiB"], rows), flush=True)


def health(bench: Bench) -> None:
    """Requests a second to /healthz, from wrk where it is installed."""
    wrk = shutil.which("wrk")
    if wrk is None:
        print("\n/healthz: not measured, wrk is not installed (Debian, Ubuntu: apt-get install wrk)", flush=True)
        return
    rates: dict[str, float] = {}
    with ExitStack() as stack:
        for service in (programs.ours(), programs.rival("none")):
            stack.callback(service.end)
            command = [wrk, "-t1", "-c64", "-d5s", f"http://127.0.0.1:{service.port}/healthz"]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            if "Non-2xx" in said or "Socket errors" in said:
                raise RuntimeError(said)
            rates[service.name] = float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])
    bench.report["healthz_per_s"] = rates
    print(table("/healthz, 64 connections of wrk", ["", "requests/s"], list(map(list, rates.items()))), flush=True)
    bench.goal("/healthz", "≥ 20,000 /s", f"{rates[OURS]:,.0f} /s", rates[OURS] >= 20_000)


def ready(bench: Bench) -> None:
    """From spawning the process to /readyz 200; a decoy tells whether torch was imported."""
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder) / "imported"
        (Path(folder) / "torch.py").write_text(f"open({str(marker)!r}, 'w').close()\nraise ImportError('decoy')\n")
        for _ in range(10):
            for service in (programs.ours(Path(folder)), programs.rival("none")):
                times.setdefault(service.name, []).append(service.ready_ms)
                times.setdefault(f"{service.name}, port open", []).append(service.open_ms)
                service.end()
        torch_imported = marker.exists()
    figures = {name: percentiles(values, "ms") for name, values in times.items()}
    bench.report["ready"] = {"systems": figures, "torch_imported": torch_imported}
    print(table("Time to ready, ms, 10 starts", ["", "p50", "p99"], [[n, *f.values()] for n, f in figures.items()]))
    p50 = figures[OURS]["ms_p50"]
    bench.goal("time to ready, torch not imported", "< 1,500 ms", f"{p50:.0f} ms", p50 < 1500 and not torch_imported)


def memory(bench: Bench) -> None:
    """Resident memory before the first request; the bare engine has spoken its warm-up line too. It grows with the
    longest sentence spoken so far, and our server has warmed up with a long one: hence the second figure."""
    with ExitStack() as stack:
        bare = programs.bare()
        parts: list[Program] = [bare, programs.ours(), programs.rival("none")]
        for program in parts:
            stack.callback(program.end)
        resident = {program.name: round(program.resident_mib(), 1) for program in parts}
        bare.ask(LONG_SENTENCE)
        resident["bare call, after a long sentence"] = round(bare.resident_mib(), 1)
    bench.report["idle_mib"] = resident
    print(table("Idle memory", ["", "MiB"], list(map(list, resident.items()))), flush=True)
    over = resident[OURS] - resident["bare call"]
    bench.goal("idle memory over the bare engine", "≤ 20 MB", f"{over * 1.048576:.1f} MB", over * 1.048576 <= 20)


SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "one": one_client,
    "many": many_clients,
    "cache": cache_hit,
    "health": health,
    "ready": ready,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200, help="pairs of every comparison (default 200)")
    parser.add_argument("--blocks", type=int, default=3, help="blocks in which the 32 clients come (default 3)")
    parser.add_argument("--quick", action="store_true", help="20 pairs, 1 block: to see that it runs, not to conclude")
    parser.add_argument("--only", default=",".join(SCENARIOS), help=f"some of {','.join(SCENARIOS)}")
    parser.add_argument(
        "--out", type=Path, help="where the JSON goes (default: results/, named by the machine; none with --quick)"
    )
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(SCENARIOS):
        parser.error(f"no scenario is called {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    pairs, blocks = (20, 1) if options.quick else (options.pairs, options.blocks)
    hardware = programs.machine()
    print(f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB, Python {hardware['python']}")
    load = programs.load_generator()
    bench = Bench(load, Texts(seed=time.time_ns()), pairs, blocks, {}, [])
    try:
        for name in chosen:
            SCENARIOS[name](bench)
    finally:
        load.end()
    rows = [[what, wanted, reached, "yes" if met else "NO"] for what, wanted, reached, met in bench.goals]
    print(table("What it must reach", ["", "wanted", "reached", "met"], rows))
    goals = [
        {"what": what, "wanted": wanted, "reached": reached, "met": met} for what, wanted, reached, met in bench.goals
    ]
    document = {"machine": hardware, "pairs": pairs, "blocks": blocks, "scenarios": bench.report, "goals": goals}
    slug = re.sub(r"[^a-z0-9]+", "-", f"serve-{hardware['cpu']}-{hardware['cores']}-cores".lower())
    out = options.out or (None if options.quick else programs.HERE / "results" / f"{slug}.json")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        print(f"\nwritten to {out}")


if __name__ == "__main__":
    main()
