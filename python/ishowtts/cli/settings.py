"""From the command line to the configuration and the program behind it. Must not import typer or rich."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from ishowtts.cli.failure import Failure, usage
from ishowtts.errors import ConfigError, EngineBroken, InvalidSetting, IshowttsError, SpeechError

if TYPE_CHECKING:
    from ishowtts._native import Config, Runtime

KEY_OF_FLAG = {"--host": "http.host", "--port": "http.port", "--engine": "engine"}
"""Flags that are short for a setting."""

AUTO = "auto"
"""Stands for engines that the program chooses by what is installed."""

QUIET = "off"
"""Log level of commands that tell by themselves what went wrong, in one line."""

CONFIG_HELP = "A TOML file of settings."
SET_HELP = "Any other setting, such as --set cpu.threads=2. May be repeated."
ENGINE_HELP = "The engine that speaks; auto: chosen by what this machine has."
LICENCE_HELP = "Accept the licence of the engine's weights, once for good; only then are they fetched."


def load(
    config_path: str | None,
    given: Mapping[str, str | None],
    assignments: Sequence[str] = (),
    *,
    log_level: str | None = None,
) -> Config:
    """The configuration with ``given`` (flag to value; None: not given) and ``--set`` ``assignments`` on top of it.

    ``log_level`` takes the place of the default one: commands that are over soon tell less than a server.

    Raises ConfigError with all that is wrong, Failure for an assignment without ``=`` and an engine that is not there.
    """
    flags = [(KEY_OF_FLAG[flag], value, flag) for flag, value in given.items() if value is not None]
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise usage(f"--set takes KEY=VALUE, not {assignment!r}", "for example --set cpu.threads=2")
        flags.append((key.strip(), value.strip(), "--set"))
    try:
        from ishowtts._native import Config
    except ImportError as error:
        raise not_built(error) from error
    config = Config.load(config_path, flags)
    if log_level is not None and ("log.level", "default") in {(key, origin) for key, _, origin in config.explain()}:
        config = Config.load(config_path, [*flags, ("log.level", log_level, "the command")])
    _check_engines(config)
    return config


def _check_engines(config: Config) -> None:
    """Only Python knows which engines are installed; a wrong name is the user's fault, not an engine that broke."""
    installed = sorted({point.name for point in entry_points(group="ishowtts.engines")})
    origins = {key: origin for key, _, origin in config.explain()}
    for key, names in (("engine", [config.engine]), ("fallback", config.fallback)):
        for name in names:
            if name not in installed and name != AUTO:
                near = difflib.get_close_matches(name, installed, 1)
                mend = f"did you mean {near[0]!r}?" if near else "install it, or choose another"
                known = f"(installed: {', '.join(installed)})"
                raise usage(f"{origins[key]}: no engine is called {name!r} {known}", mend)


def check_options(config: Config) -> None:
    """What the engines have against their options, as far as they tell without loading. Raises ConfigError with a line
    for each, IshowttsError for an engine that is to speak and cannot be imported."""
    from ishowtts import registry

    lines = []
    tables = config.engines
    speaking = [name for name in (config.engine, *config.fallback) if name != AUTO]
    installed = {engine.name for engine in registry.available()}
    for name in dict.fromkeys([*speaking, *(name for name in tables if name in installed)]):
        try:
            registry.check_options(name, tables.get(name, {}), config.threads)
        except InvalidSetting as error:
            lines.append(str(error))
        except IshowttsError:
            if name in speaking:
                raise
    if lines:
        raise ConfigError("\n".join(lines))


def accept_licence(config: Config) -> None:
    """Records that the user accepts the licence of what the configured engines would fetch."""
    from ishowtts import licences

    named = [licences.OF_ENGINE[name] for name in (config.engine, *config.fallback) if name in licences.OF_ENGINE]
    if not named:
        raise usage(
            f"--accept-license: the engine {config.engine!r} fetches nothing that has a licence to accept",
            f"name the engine with it: --engine {next(iter(licences.OF_ENGINE))}",
        )
    for licence in dict.fromkeys(named):
        licences.accept(licence)
        print(f"accepted: {licence.spdx} for {licence.covers} ({licence.terms}; {licence.url})", file=sys.stderr)


def start(config: Config) -> Runtime:
    """The program with its engines; they load in the background."""
    try:
        from ishowtts._native import Runtime
    except ImportError as error:
        raise not_built(error) from error
    return Runtime(config)


def wait_ready(runtime: Runtime) -> None:
    """Raises EngineBroken for an engine that did not load."""
    try:
        runtime.wait_ready()
    except SpeechError as error:
        if error.code == "engine_failed":
            raise EngineBroken(str(error)) from error
        raise


def not_built(error: ImportError) -> Failure:
    return Failure(f"the compiled part of ishowtts does not load ({error})", "install ishowtts again")
