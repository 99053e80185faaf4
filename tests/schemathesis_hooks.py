"""What the document cannot say in JSON Schema, told to schemathesis."""

from __future__ import annotations

from typing import Any

import clips
import schemathesis
from schemathesis import Case, GenerationMode, HookContext, Response

TEXTS = ("text", "input", "reference_text")
ANY_RATE = ("wav", "pcm", "wav_f32", "pcm_f32")
CLIP = clips.text_wav()
"""Text, as the tool takes a form that a hook put bytes into for one that breaks the schema."""


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
    if case.media_type == "multipart/form-data" and isinstance(case.body, dict):
        complete(case.operation.path, case.body)


def complete(path: str, form: dict[str, Any]) -> None:
    """A good form has a clip that is one, and what goes with it; its parts have names that fit into headers."""
    for name in [name for name in form if not (name.isascii() and name.isprintable())]:
        del form[name]
    if any(name.startswith("reference_") for name in form):
        form.pop("voice", None)
        form |= {"reference_audio": CLIP, "reference_text": "What is said."}
    if "params" in form:
        form["params"] = "{}"
    if "voices" in path:
        form |= {"audio": CLIP, "text": "What is said."}
        # Of white space alone they say nothing.
        form |= {name: "MIT" for name in ("name", "licence") if name in form}
        form.pop("engine", None)
        # The id of a change is in the path.
        form.pop("id", None)
    if path == "/v1/voices":
        form["id"] = "mine"


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
