"""``ishowtts voices`` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import clips
import pytest
from harness import Server, run, wait_until, wav_samples

TEXT = "What is said in the clip."


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "me.wav"
    path.write_bytes(clips.wav())
    return path


def shown(home: Path, voice: str) -> dict[str, object]:
    ended = run(["voices", "show", voice, "--json"], home)
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


class TestCommands:
    def test_a_voice_comes_and_goes(self, tmp_path: Path, clip: Path) -> None:
        added = run(["voices", "add", "mine", clip, "--text", TEXT, "--name", "Me", "--language", "en-GB"], tmp_path)
        assert added.returncode == 0, added.stderr
        assert added.stdout.startswith("added the voice 'mine' (")
        voice = shown(tmp_path, "mine")
        assert (voice["name"], voice["languages"], voice["origin"]) == ("Me", ["en-GB"], "user")
        assert voice["reference_text"] == TEXT
        listed = run(["voices"], tmp_path).stdout
        assert any(line.startswith("mine ") for line in listed.splitlines())
        assert listed == run(["voices", "list"], tmp_path).stdout

        again = run(["voices", "add", "mine", clip, "--text", TEXT], tmp_path)
        assert again.returncode == 1
        assert again.stderr == (
            'ishowtts: there is a voice "mine" of yours already; remove it first, or replace it; --replace changes it\n'
        )
        assert run(["voices", "add", "mine", "--name", "You", "--replace"], tmp_path).returncode == 0
        assert shown(tmp_path, "mine")["name"] == "You"
        assert shown(tmp_path, "mine")["reference_bytes"] == voice["reference_bytes"]

        assert run(["voices", "remove", "mine"], tmp_path).returncode == 0
        gone = run(["voices", "remove", "mine"], tmp_path)
        assert (gone.returncode, gone.stderr) == (
            1,
            'ishowtts: no voice is called "mine"; `ishowtts voices` lists them\n',
        )
        assert "part of the program" in run(["voices", "remove", "heart"], tmp_path).stderr

    def test_what_cannot_be_a_voice_is_told_in_one_line(self, tmp_path: Path, clip: Path) -> None:
        silent = tmp_path / "silent.wav"
        silent.write_bytes(clips.wav_of(clips.hum() * 0))
        for arguments, told in [
            (["mine", clip], "give it with --text"),
            (["Mine", clip, "--text", TEXT], "a voice's id is made of"),
            (["mine", silent, "--text", TEXT], "silent.wav: the clip is silent"),
            (["mine", tmp_path / "none.wav", "--text", TEXT], "none.wav: cannot be read"),
            (["mine"], '"audio" is missing'),
            (["mine", clip, "--text", TEXT, "--language", "a b"], "BCP 47"),
        ]:
            ended = run(["voices", "add", *arguments], tmp_path)
            assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
            assert told in ended.stderr

    def test_a_text_beside_the_clip_is_what_is_said(self, tmp_path: Path, clip: Path) -> None:
        clip.with_suffix(".txt").write_text(TEXT + "\n")
        assert run(["voices", "add", "mine", clip], tmp_path).returncode == 0
        assert shown(tmp_path, "mine")["reference_text"] == TEXT

    def test_a_folder_is_imported(self, tmp_path: Path, clip: Path) -> None:
        source = tmp_path / "source"
        for id in ("one", "two"):
            (source / id).mkdir(parents=True)
            (source / id / "voice.toml").write_text(
                f'# by hand\nid = "{id}"\nname = "A"\nlanguages = ["en"]\nlicence = "MIT"\n[reference]\ntext = "Hi."\n'
            )
            (source / id / "reference.wav").write_bytes(clip.read_bytes())
        (source / "Nữ 3.wav").write_bytes(clip.read_bytes())
        (source / "Nữ 3.txt").write_text(TEXT)
        (source / "two" / "voice.toml").write_text("id = ")
        (source / "notes.txt").write_text("")
        imported = run(["voices", "import", source], tmp_path)
        assert imported.returncode == 1
        assert "imported 'one'\n" in imported.stdout
        assert "imported 'n-3'\n" in imported.stdout
        assert "manifest_invalid" in imported.stderr
        assert "1 of 3 voices were not imported" in imported.stderr
        folder = tmp_path / "data" / "ishowtts" / "voices" / "one"
        assert (folder / "voice.toml").read_bytes() == (source / "one" / "voice.toml").read_bytes()
        assert (folder / "reference.wav").read_bytes() == (source / "one" / "reference.wav").read_bytes()
        assert run(["voices", "import", source / "one", "--replace"], tmp_path).returncode == 0
        assert "holds no voices" in run(["voices", "import", folder.parent / ".."], tmp_path).stderr

    def test_a_running_server_speaks_with_what_was_added(self, tmp_path: Path, clip: Path) -> None:
        with Server(tmp_path, engine="fake") as server:
            assert server.speak("Hi.", voice="mine").status == 404
            assert run(["voices", "add", "mine", clip, "--text", TEXT], tmp_path).returncode == 0
            wait_until(lambda: server.speak("Hi.", voice="mine").status == 200, "the voice is seen", 5)
            assert run(["voices", "remove", "mine"], tmp_path).returncode == 0
            wait_until(lambda: server.speak("Hi.", voice="mine").status == 404, "it is seen to be gone", 5)

    def test_a_preview_is_heard(self, tmp_path: Path) -> None:
        for words in ([], ["Hello", "there."]):
            ended = run(["voices", "preview", "wren", *words, "-o", "a.wav"], tmp_path)
            assert ended.returncode == 0, ended.stderr
            assert wav_samples((tmp_path / "a.wav").read_bytes()).size
