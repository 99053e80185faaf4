"""What went wrong, in one line for a person: the cause, then how to mend it."""

from __future__ import annotations

import re
import sys

from ishowtts.errors import ConfigError, EngineBroken, InvalidSetting, IshowttsError, SpeechError

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_ENGINE_BROKEN = 70
"""EX_SOFTWARE of sysexits.h; a supervisor should start the program again."""
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""

_SEE_MORE = "run it again with --set log.level=info to see more"
_MENDS = {
    "voice_not_found": "`ishowtts voices` lists them",
    "model_not_found": "`ishowtts engines` lists them",
    "text_too_long": "cut the text, or raise text.max_chars",
    "text_refused": "`ishowtts engines` tells what each can say",
    "deadline_exceeded": "raise queue.max_wait_s, or try again when the machine is less busy",
    "engine_failed": _SEE_MORE,
    "voice_exists": "--replace changes it",
    "voice_not_cloned": "`ishowtts engines` tells which clone voices",
    "transcript_missing": "put it into a .txt file beside the clip, or give it to `ishowtts voices add` with --text",
}
"""By the stable code of src/error.rs."""


class Failure(Exception):
    """Ends the command with ``ishowtts: cause; mend`` and an exit code."""

    def __init__(self, cause: str, mend: str = "", exit_code: int = EXIT_FAILURE) -> None:
        super().__init__(cause)
        self.cause = cause
        self.mend = mend
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.cause}; {self.mend}" if self.mend else self.cause


def usage(cause: str, mend: str) -> Failure:
    return Failure(cause, mend, EXIT_USAGE)


def as_failure(error: Failure | IshowttsError | OSError) -> Failure:
    """The same fault with its mend and its exit code."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, ConfigError):
        return Failure(str(error), exit_code=EXIT_USAGE)
    if isinstance(error, EngineBroken):
        return Failure(str(error), _SEE_MORE, EXIT_ENGINE_BROKEN)
    if isinstance(error, InvalidSetting) or (isinstance(error, SpeechError) and error.code == "invalid_setting"):
        return Failure(str(error), exit_code=EXIT_USAGE)
    if isinstance(error, SpeechError):
        # Messages are written for clients of the server: here a command takes the place of its path.
        message = re.sub(r"; GET /\S+ (lists them|tells which clone voices)", "", str(error))
        return Failure(message, _MENDS.get(error.code, ""))
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Failure(f"{where}{error.strerror or error}")
    return Failure(str(error))


def tell(failure: Failure) -> None:
    """One line; a configuration with several faults has one line for each."""
    for line in str(failure).splitlines():
        print(f"ishowtts: {line}", file=sys.stderr)
