"""The engine and nothing else: what any server around it is measured against.

Texts come as JSON lines on stdin, times go as JSON lines to stdout. The first line out says that it is loaded.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from hibari import Hibari

AUDIBLE = 10 ** (-50 / 20)


def main() -> None:
    tts = Hibari(threads=1)
    list(tts.stream("Warm up.", seed=0))
    print(json.dumps({"loaded": True}), flush=True)
    for line in sys.stdin:
        text = json.loads(line)
        start = time.perf_counter()
        ttfa_ms = None
        samples = 0
        for pcm in tts.stream(text, seed=0):
            samples += pcm.size
            if ttfa_ms is None and float(np.abs(pcm).max()) > AUDIBLE:
                ttfa_ms = (time.perf_counter() - start) * 1e3
        total_ms = (time.perf_counter() - start) * 1e3
        print(json.dumps({"ttfa_ms": ttfa_ms, "total_ms": total_ms, "samples": samples}), flush=True)


if __name__ == "__main__":
    main()
