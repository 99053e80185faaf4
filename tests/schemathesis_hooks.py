"""What the document cannot say in JSON Schema, told to schemathesis."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis import Case, GenerationMode, HookContext, Response

TEXTS = ("text", "input")
ANY_RATE = ("flac", "wav", "pcm", "wav_f32", "pcm_f32")


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """A good request's text has a letter or a digit, its parameters are the engine's, its rates the format's; a bad one
    stays as it is.
    """
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
        holder.pop("bitrate", None)
        if holder.get("format", holder.get("response_format")) not in ANY_RATE:
            holder.pop("sample_rate", None)


@schemathesis.deserializer("audio/wav")
def wav(context: Any, response: Response) -> int:
    assert response.content[:4] == b"RIFF"
    assert response.content[8:12] == b"WAVE"
    return len(response.content)


@schemathesis.deserializer("audio/pcm")
def pcm(context: Any, response: Response) -> int:
    assert len(response.content) % 2 == 0
    return len(response.content) // 2


@schemathesis.deserializer("audio/mpeg", "audio/ogg", "audio/flac", "audio/basic")
def encoded(context: Any, response: Response) -> int:
    assert response.content
    return len(response.content)
