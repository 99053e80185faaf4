"""``ishowtts voices`` as a person types it."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import clips
import fake_whisper
import pytest
from harness import COMMAND, Server, environment, run, wait_until, wav_samples

TEXT = "What is said in the clip."
MANIFEST = 'id = "ID"\nname = "A"\nlanguages = ["en"]\nlicence = "MIT"\n[reference]\ntext = "Hi."\n'


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
        told = json.loads(run(["voices", "list", "--json"], tmp_path).stdout)
        cloned = {entry["id"]: entry["cloned"] for entry in told}
        assert (cloned["mine"], cloned["heart"]) == (True, False), "engines that do not clone can speak as heart"
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
            (["mine", clip], "give it to `ishowtts voices add` with --text"),
            (["Mine", clip, "--text", TEXT], '"Mine" cannot be a voice\'s id'),
            (["mine", silent, "--text", TEXT], "silent.wav: the clip is silent"),
            (["mine", tmp_path / "none.wav", "--text", TEXT], "none.wav: cannot be read"),
            (["mine"], '"audio" is missing'),
            (["mine", clip, "--text", TEXT, "--language", "a b"], "BCP 47"),
            (["mine", clip, "--text", "a\x1bb"], '"text" must not hold control characters, such as U+001B'),
            (["mine", clip, "--text", TEXT, "--licence", "a\nb"], '"licence" must not hold control characters'),
        ]:
            ended = run(["voices", "add", *arguments], tmp_path)
            assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
            assert told in ended.stderr

    def test_a_text_beside_the_clip_is_what_is_said(self, tmp_path: Path, clip: Path) -> None:
        clip.with_suffix(".txt").write_text(TEXT + "\n")
        assert run(["voices", "add", "mine", clip], tmp_path).returncode == 0
        voice = shown(tmp_path, "mine")
        assert (voice["reference_text"], voice["languages"]) == (TEXT, ["en"])

    def test_where_a_clip_is_from_stays_with_it(self, tmp_path: Path, clip: Path) -> None:
        source = tmp_path / "source" / "mine"
        source.mkdir(parents=True)
        (source / "voice.toml").write_text(MANIFEST.replace("ID", "mine") + 'source = "A book of 1920"\n')
        (source / "reference.wav").write_bytes(clip.read_bytes())
        assert run(["voices", "import", source], tmp_path).returncode == 0
        assert shown(tmp_path, "mine")["reference_source"] == "A book of 1920"
        changed = run(["voices", "add", "mine", "--name", "Other", "--text", "Hi there.", "--replace"], tmp_path)
        assert changed.returncode == 0, changed.stderr
        voice = shown(tmp_path, "mine")
        assert (voice["name"], voice["reference_source"]) == ("Other", "A book of 1920")
        manifest = tmp_path / "data" / "ishowtts" / "voices" / "mine" / "voice.toml"
        assert 'source = "A book of 1920"' in manifest.read_text(encoding="utf-8")
        assert run(["voices", "add", "mine", clip, "--replace"], tmp_path).returncode == 0
        assert shown(tmp_path, "mine")["reference_source"] is None, "it is another clip"

    def test_a_folder_is_imported(self, tmp_path: Path, clip: Path) -> None:
        source = tmp_path / "source"
        for id in ("one", "two"):
            (source / id).mkdir(parents=True)
            (source / id / "voice.toml").write_text("# by hand\n" + MANIFEST.replace("ID", id))
            (source / id / "reference.wav").write_bytes(clip.read_bytes())
        (source / "Nữ 3.wav").write_bytes(clip.read_bytes())
        (source / "Nữ 3.txt").write_text(TEXT)
        (source / "two" / "voice.toml").write_text("id = ")
        (source / "notes.txt").write_text("")
        imported = run(["voices", "import", source], tmp_path)
        assert imported.returncode == 1
        assert "imported 'one'\n" in imported.stdout
        assert "imported 'nu-3'\n" in imported.stdout
        assert "manifest_invalid" in imported.stderr
        assert "1 of 3 voices were not imported" in imported.stderr
        folder = tmp_path / "data" / "ishowtts" / "voices" / "one"
        assert (folder / "voice.toml").read_bytes() == (source / "one" / "voice.toml").read_bytes()
        assert (folder / "reference.wav").read_bytes() == (source / "one" / "reference.wav").read_bytes()
        assert run(["voices", "import", source / "one", "--replace"], tmp_path).returncode == 0
        assert "holds no voices" in run(["voices", "import", folder.parent / ".."], tmp_path).stderr

    def test_a_clip_is_listened_to_where_its_text_is_nowhere(self, tmp_path: Path, clip: Path) -> None:
        env = fake_whisper.put_into(tmp_path / "whisper")
        added = run(["voices", "add", "mine", clip, "--language", "vi"], tmp_path, env=env)
        assert added.returncode == 0, added.stderr
        assert "heard in it: Heard as vi.\n" in added.stdout
        assert "--replace --text" in added.stderr
        assert (shown(tmp_path, "mine")["reference_text"], shown(tmp_path, "mine")["languages"]) == (
            "Heard as vi.", ["vi"]
        )  # fmt: skip
        told = run(["voices", "add", "told", clip, "--text", TEXT], tmp_path, env=env)
        assert "heard" not in told.stdout
        clip.write_bytes(clips.wav(220))
        kept = run(["voices", "add", "mine", clip, "--replace"], tmp_path, env=env)
        assert "heard" not in kept.stdout
        assert 'its text is still "Heard as vi."' in kept.stderr

        source = tmp_path / "source"
        source.mkdir()
        for name in ("Ánh Đào.wav", "Jörg.wav"):
            (source / name).write_bytes(clip.read_bytes())
        (source / "Jörg.txt").write_text(TEXT)
        imported = run(["voices", "import", source], tmp_path, env=env)
        assert (imported.returncode, imported.stdout) == (
            0, "imported 'jorg'\nimported 'anh-dao'\nheard in it: Heard as None.\n"
        )  # fmt: skip
        assert shown(tmp_path, "anh-dao")["languages"] == ["de"], "as it was heard"
        assert shown(tmp_path, "jorg")["reference_text"] == TEXT
        # Nothing was listened to for a text that was there.
        assert fake_whisper.asked(tmp_path / "whisper") == ["vi", "None"]

    def test_ctrl_c_ends_the_listening(self, tmp_path: Path, clip: Path) -> None:
        env = fake_whisper.put_into(tmp_path / "whisper") | {"FAKE_WHISPER_STALLS": "1"}
        command = [COMMAND, "voices", "add", "mine", clip]
        with subprocess.Popen(
            command, env=environment(tmp_path) | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as ended:
            wait_until((tmp_path / "whisper" / "asked.txt").exists, "it listens")
            ended.send_signal(signal.SIGINT)
            told = ended.communicate(timeout=50)
        assert (ended.returncode, *told) == (130, b"", b"")
        assert run(["voices", "show", "mine"], tmp_path).returncode == 1

    def test_without_the_extra_it_is_told_how_to_have_it(self, tmp_path: Path, clip: Path) -> None:
        env = fake_whisper.put_nothing_into(tmp_path / "whisper")
        for arguments in (["add", "mine", clip], ["import", clip.parent]):
            ended = run(["voices", *arguments], tmp_path, env=env)
            assert ended.returncode == 1
            first = ended.stderr.splitlines()[0]
            assert "pip install 'ishowtts[transcribe]'" in first
            assert "a .txt file beside the clip" in first
        assert run(["voices", "show", "mine"], tmp_path).returncode == 1

    def test_nothing_leads_out_of_the_folder_of_voices(self, tmp_path: Path, clip: Path) -> None:
        source = tmp_path / "source"
        (source / "linked").mkdir(parents=True)
        (source / "linked" / "voice.toml").write_text(MANIFEST.replace("ID", "linked"))
        (source / "linked" / "reference.wav").symlink_to(clip)
        (source / "Bad Name").mkdir()
        (source / "Bad Name" / "voice.toml").write_text(MANIFEST.replace("ID", "../../evil"))
        (source / "other").mkdir()
        (source / "other" / "voice.toml").write_text(MANIFEST.replace("ID", "../../evil"))
        (source / "other" / "reference.wav").write_bytes(clip.read_bytes())
        (source / "…!.wav").write_bytes(clip.read_bytes())
        (source / "…!.txt").write_text(TEXT)
        (source / "x ..%2f evil.wav").write_bytes(clip.read_bytes())
        (source / "x ..%2f evil.txt").write_text(TEXT)
        (source / "text.wav").write_text("This is a text, whatever it is called.")
        (source / "text.txt").write_text(TEXT)
        imported = run(["voices", "import", source], tmp_path)
        assert (imported.returncode, imported.stdout) == (1, "imported 'x-2f-evil'\n")
        for name, told in [("linked", "link_outside"), ("Bad Name", "cannot be a voice's id"), ("other", "id_mismatch"),
                           ("…!.wav", "no letter in its name"), ("text.wav", "this is text")]:  # fmt: skip
            assert any(name in line and told in line for line in imported.stderr.splitlines()), (name, imported.stderr)
        before = sorted(tmp_path.rglob("*"))
        for id in ("../evil", "/etc/passwd", "..", "", "é", "a/b", "heart.override", ".lock"):
            for arguments in (
                ["add", id, clip, "--text", TEXT],
                ["show", id],
                ["remove", id],
                ["preview", id, "-o", "x"],
            ):
                ended = run(["voices", *arguments], tmp_path)
                assert ended.returncode != 0, (id, arguments)
                assert "Traceback" not in ended.stderr
        assert sorted(tmp_path.rglob("*")) == before

    def test_a_running_server_speaks_with_what_was_added(self, tmp_path: Path, clip: Path) -> None:
        with Server(tmp_path, engine="fake") as server:
            assert server.speak("Hi.", voice="mine").status == 404
            assert run(["voices", "add", "mine", clip, "--text", TEXT], tmp_path).returncode == 0
            wait_until(lambda: server.speak("Hi.", voice="mine").status == 200, "the voice is seen")
            assert run(["voices", "remove", "mine"], tmp_path).returncode == 0
            wait_until(lambda: server.speak("Hi.", voice="mine").status == 404, "it is seen to be gone")

    def test_a_preview_is_heard(self, tmp_path: Path) -> None:
        for voice, words in [("wren", []), ("wren", ["Hello", "there."]), ("Alloy+pitch=3", [])]:
            ended = run(["voices", "preview", voice, *words, "-o", "a.wav"], tmp_path)
            assert ended.returncode == 0, ended.stderr
            assert wav_samples((tmp_path / "a.wav").read_bytes()).size

    def test_what_no_engine_can_speak_with_is_told(self, tmp_path: Path, clip: Path) -> None:
        assert run(["voices", "add", "mine", clip, "--text", TEXT], tmp_path).returncode == 0
        ended = run(["voices", "preview", "mine", "-o", "a.wav", "--engine", "hibari"], tmp_path)
        assert ended.returncode == 1
        assert ended.stderr.endswith("; `ishowtts engines` tells which clone voices\n")
        assert "GET" not in ended.stderr
