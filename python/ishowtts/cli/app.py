"""Every command but ``serve``, on typer and rich."""

from __future__ import annotations

import contextlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ishowtts.cli import chat as chatting
from ishowtts.cli import say as saying
from ishowtts.cli import serve as serving
from ishowtts.cli import settings, tables
from ishowtts.cli import voices as library
from ishowtts.cli.failure import usage
from ishowtts.errors import SpeechError

if TYPE_CHECKING:
    from ishowtts._native import Voices

app = typer.Typer(
    name="ishowtts",
    help="Turns text into speech: a server, and the same voices on the command line.",
    add_completion=False,
)
voices_app = typer.Typer()
app.add_typer(voices_app, name="voices")
config_app = typer.Typer(help="Show or check the settings.")
app.add_typer(config_app, name="config")
chat_app = typer.Typer(help="What the livestream's overlay needs.")
app.add_typer(chat_app, name="chat")

ConfigFile = Annotated[str | None, typer.Option("--config", metavar="FILE", help=settings.CONFIG_HELP)]
Assignments = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=settings.SET_HELP)]
EngineName = Annotated[str | None, typer.Option("--engine", help=settings.ENGINE_HELP)]
VoiceId = Annotated[str, typer.Argument(metavar="ID", help="A voice's id, made of a-z, 0-9, - and _.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

VOICE_COLUMNS = ("id", "name", "languages", "licence", "description", "aliases")
ENGINE_COLUMNS = ("name", "state", "device", "languages", "sample_rate_hz", "licence", "revision", "reason")


def run(arguments: list[str]) -> int:
    """Runs a command; errors of the command line are Failures with exit code 2."""
    try:
        code = typer.main.get_command(app).main(
            args=arguments or ["--help"], prog_name="ishowtts", standalone_mode=False
        )
    except Exception as error:
        # typer has carried click's exceptions under several names; what tells them is how they present themselves.
        explain = getattr(error, "format_message", None)
        if explain is None:
            raise
        command = getattr(getattr(error, "ctx", None), "command_path", "ishowtts")
        raise usage(str(explain()).rstrip("."), f"`{command} --help` shows what there is") from error
    return code if isinstance(code, int) else 0


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ishowtts {version('ishowtts')}")
        raise typer.Exit


@app.callback()
def ishowtts(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    help="Start the server; `ishowtts serve --help` shows its options.",
)
def serve(context: typer.Context) -> int:
    return serving.run(context.args)


@app.command()
def say(
    text: Annotated[list[str], typer.Argument(metavar="TEXT|-|FILE", help="A text, a text file, or - for stdin.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write .wav, .flac, .mp3, .opus; -: WAV to stdout."),
    ] = None,
    captions: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write captions, as .srt (SubRip) or .vtt (WebVTT).")
    ] = None,
    play: Annotated[bool, typer.Option("--play", help="Play it as it is made (the default in a terminal).")] = False,
    voice: Annotated[str | None, typer.Option(help="A voice's id or alias.")] = None,
    speed: Annotated[float, typer.Option(help="0.25 to 4; 1 is the voice's own pace.")] = 1.0,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same samples; -1: another each time.")
    ] = None,
    engine: EngineName = None,
    accept_license: Annotated[bool, typer.Option("--accept-license", help=settings.LICENCE_HELP)] = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> int:
    """Speak a text to a file, to a pipe or aloud."""
    loaded = settings.load(config, {"--engine": engine}, assignments or [], log_level=settings.QUIET)
    if accept_license:
        settings.accept_licence(loaded)
    return saying.run(loaded, saying.Saying(text, output, captions, play, voice, speed, seed))


@voices_app.callback(invoke_without_command=True)
def voices(
    context: typer.Context, as_json: Json = False, config: ConfigFile = None, assignments: Assignments = None
) -> int:
    """List, add and remove voices."""
    if context.invoked_subcommand is None:
        return voices_list(as_json, config, assignments)
    return 0


@voices_app.command("list")
def voices_list(as_json: Json = False, config: ConfigFile = None, assignments: Assignments = None) -> int:
    """List the voices."""
    found = _library(config, assignments).all()
    _list(found, VOICE_COLUMNS, as_json)
    return 0


@voices_app.command("show")
def voices_show(
    voice: VoiceId, as_json: Json = False, config: ConfigFile = None, assignments: Assignments = None
) -> int:
    """Show all that is known of a voice."""
    found = library.shown(_library(config, assignments), voice)
    if as_json:
        tables.show_json(found)
    else:
        tables.show(("of the voice", "is"), found.items())
    return 0


@voices_app.command("add")
def voices_add(
    voice: VoiceId,
    clip: Annotated[
        str | None, typer.Argument(metavar="CLIP", help="A sound file of any common format, 5 to 12 s of speech.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="What is said in it; else that of CLIP's .txt file; else it is listened for.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="Such as en-US, the main one first. May be repeated.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Who may use the voice: an SPDX expression, or in words.")] = None,
    speed: Annotated[float | None, typer.Option(help="Multiplies the speed of requests; 0.25 to 4.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change a voice that is there.")] = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> int:
    """Add a voice of your own, or change it with --replace. A server that runs speaks with it a second later."""
    about = library.About(text, name, description, language or None, licence, speed)
    library.add(_library(config, assignments), voice, clip, about, replace=replace)
    return 0


@voices_app.command("remove")
def voices_remove(
    voices: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of voices of your own.")],
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> int:
    """Remove voices of your own. What they stood in the place of is there again."""
    library.remove(_library(config, assignments), voices)
    return 0


@voices_app.command("preview")
def voices_preview(
    voice: VoiceId,
    text: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Else a sentence in its language.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write a WAV file; -: to stdout.")
    ] = None,
    engine: EngineName = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> int:
    """Hear a voice."""
    loaded = settings.load(config, {"--engine": engine}, assignments or [], log_level=settings.QUIET)
    words = text or [library.library(loaded).preview_text(voice)]
    return saying.run(loaded, saying.Saying(words, output, None, False, voice, 1.0, None))


@voices_app.command("import")
def voices_import(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Voices' folders, or clips, best with a .txt beside each.")
    ],
    replace: Annotated[bool, typer.Option("--replace", help="Change voices that are there.")] = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> int:
    """Add all voices of a folder."""
    return library.import_folder(_library(config, assignments), folder, replace=replace)


def _library(config: str | None, assignments: list[str] | None) -> Voices:
    return library.library(settings.load(config, {}, assignments or [], log_level="warn"))


@app.command()
def engines(
    as_json: Json = False, engine: EngineName = None, config: ConfigFile = None, assignments: Assignments = None
) -> int:
    """List the engines and what each can do."""
    loaded = settings.load(config, {"--engine": engine}, assignments or [], log_level=settings.QUIET)
    runtime = settings.start(loaded)
    try:
        # An engine that did not load is part of the list.
        with contextlib.suppress(SpeechError):
            runtime.wait_ready()
        found = runtime.engines()
    finally:
        runtime.close()
    _list(found, ENGINE_COLUMNS, as_json)
    return 0


def _list(found: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        tables.show_json(found)
    else:
        shown = [column for column in columns if any(column in item for item in found)] or list(columns)
        tables.show(shown, ([item.get(column) for column in shown] for item in found))


@config_app.command("show")
def config_show(
    as_json: Json = False, engine: EngineName = None, config: ConfigFile = None, assignments: Assignments = None
) -> int:
    """Show every setting, its value and where that comes from."""
    explained = settings.load(config, {"--engine": engine}, assignments or []).explain()
    if as_json:
        tables.show_json([{"key": key, "value": value, "origin": origin} for key, value, origin in explained])
    else:
        tables.show(("setting", "value", "from"), explained)
    return 0


@config_app.command("check")
def config_check(config: ConfigFile = None, assignments: Assignments = None) -> int:
    """Check the settings, those of engines too, without starting anything."""
    loaded = settings.load(config, {}, assignments or [])
    settings.check_options(loaded)
    explained = loaded.explain()
    changed = sum(origin != "default" for _, _, origin in explained)
    print(f"the configuration is valid ({changed} settings differ from the defaults)")
    return 0


@chat_app.command("sign-in")
def chat_sign_in(
    platform: Annotated[chatting.Platform, typer.Argument(help="Where to sign in.")],
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> int:
    """Sign the running server in: shows what to type where, and waits until that is done."""
    chatting.sign_in(settings.load(config, {}, assignments or [], log_level=settings.QUIET), platform)
    return 0


@chat_app.command("token")
def chat_token(
    address: Annotated[bool, typer.Option("--url", help="The studio's and the overlay's addresses.")] = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> int:
    """Show the token that opens all of the chat."""
    loaded = settings.load(config, {}, assignments or [], log_level=settings.QUIET)
    print(chatting.addresses(loaded) if address else chatting.token(loaded))
    return 0
