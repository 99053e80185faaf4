"""The exceptions that an engine may raise and what the server makes of each. Any other exception ends the one
segment that it came from: the client gets ``engine_failed``, the log gets the traceback."""

from __future__ import annotations


class IshowttsError(Exception):
    """Base of everything that ishowtts raises on purpose. Messages are shown to clients: no paths, no secrets."""


class SegmentRefused(IshowttsError):
    """An answer, not a fault: this engine cannot say this segment (language, characters, length).

    The segment goes to the next engine of the route that can, else the request gets a 422 with this message.
    """


class InvalidSetting(IshowttsError):
    """A parameter, an option or a voice that the engine does not accept: the caller can mend it. While the engine
    loads, the program ends with 2."""


class Unavailable(IshowttsError):
    """What the engine needs from outside is not to be had now: a network, a disk. The message is all that there is to
    know, so no traceback is logged; while the engine loads, the program ends with 70 and may be started again."""


class EngineBroken(IshowttsError):
    """The engine as a whole cannot go on (a fatal device error). The program says so and exits with 70."""


class ConfigError(IshowttsError):
    """The configuration is not valid. One line for each mistake, with where it stands and how to mend it."""


class AudioError(IshowttsError):
    """Sound that cannot be decoded: of an unknown kind, broken, or longer than allowed. The message says which."""


class SpeechError(IshowttsError):
    """Speech was refused or ended early. ``code`` is stable, for programs (``"voice_not_found"``)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
