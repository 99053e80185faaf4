"""What the document cannot say in JSON Schema, told to schemathesis."""

from __future__ import annotations

from typing import Any

import schemathesis
from harness import wav_samples
from schemathesis import Case, GenerationMode, HookContext, Response

TEXTS = ("text", "input")


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """A good request's text has a letter or a digit, and its parameters are the engine's; a bad one stays as it is."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    for holder in (case.body, case.query):
        if not isinstance(holder, dict):
            continue
        for name in TEXTS:
            if isinstance(holder.get(name), str):
                holder[name] += "a"
        if isinstance(holder.get("params"), dict):
            holder["params"] = {}


@schemathesis.deserializer("audio/wav")
def wav(context: Any, response: Response) -> int:
    return int(wav_samples(response.content).size)


@schemathesis.deserializer("audio/pcm")
def pcm(context: Any, response: Response) -> int:
    assert len(response.content) % 2 == 0
    return len(response.content) // 2
