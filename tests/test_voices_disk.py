"""The folder of voices when the disk is at fault, and when the program is killed."""

from __future__ import annotations

import contextlib
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import clips
import pytest
from harness import Server, environment, wait_until
from voices_client import CONFIG, Api, refused

Start = Callable[..., Server]


def can_mount() -> bool:
    command = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


@contextlib.contextmanager
def mounted(home: Path, mount: str) -> Iterator[Api]:
    """A server whose folder of voices is what the shell commands ``mount`` make of "$D"."""
    folder = home / "data" / "ishowtts" / "voices"
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(home, engine="fake", config=CONFIG, env={"D": str(folder)})
    shell: Sequence[str] = ["sh", "-c", f'{mount} && exec "$@"', "sh"]
    server.command = ["unshare", "--user", "--map-root-user", "--mount", *shell, *server.command]
    with server:
        yield Api(server)


class TestDisk:
    @pytest.mark.skipif(not can_mount(), reason="mounting is not permitted here")
    def test_a_full_disk_changes_nothing(self, tmp_path: Path) -> None:
        with mounted(tmp_path, 'mount -t tmpfs -o size=400k tmpfs "$D"') as api:
            assert api.add("small", clips.wav(seconds=2)).status_code == 201
            before = api.speak("small")
            error = refused(api.add("large", clips.wav(seconds=8)), 507, "storage_full")
            assert "nothing was changed" in error["message"]
            refused(api.post("/v1/voices/small", clips.wav(300, seconds=8)), 507, "storage_full")
            refused(api.post("/api/voices/small/reference", clips.wav(300, seconds=8)), 507, "storage_full")
            assert "large" not in api.ids()
            assert api.speak("small") == before
            assert api.add("other", clips.wav(seconds=2)).status_code == 201, "no rubbish is left"

    def test_a_file_that_may_not_grow(self, start: Start) -> None:
        api = Api(start(engine="fake", config=CONFIG))
        resource.prlimit(api.server.process.pid, resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        refused(api.add("mine"), 507, "storage_full")
        assert "mine" not in api.ids()
        resource.prlimit(api.server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert api.add("mine").status_code == 201

    @pytest.mark.skipif(not can_mount(), reason="mounting is not permitted here")
    def test_a_read_only_folder(self, tmp_path: Path) -> None:
        folder = tmp_path / "data" / "ishowtts" / "voices" / "mine"
        folder.mkdir(parents=True)
        (folder / "reference.wav").write_bytes(clips.wav())
        (folder / "voice.toml").write_text(
            'id = "mine"\nname = "Mine"\nlanguages = ["en"]\nlicence = "CC0-1.0"\n[reference]\ntext = "Hi."\n'
        )
        with mounted(tmp_path, 'mount --bind "$D" "$D" && mount -o remount,bind,ro "$D"') as api:
            before = api.speak("mine")
            for answer in (
                api.add("other"),
                api.post("/v1/voices/mine", name="Other"),
                api.http.delete("/v1/voices/mine"),
                api.post("/api/voices/mine/reference", text="Other."),
            ):
                refused(answer, 500, "storage_read_only")
            assert api.http.delete("/api/voices/mine/reference").status_code == 200, "there is nothing to remove"
            assert api.speak("mine") == before

    def test_a_file_in_the_place_of_the_folder(self, tmp_path: Path, start: Start) -> None:
        api = Api(start(engine="fake", config=CONFIG + f'[voices]\ndirectory = "{tmp_path / "file"}"\n'))
        (tmp_path / "file").write_text("")
        refused(api.add("mine"), 500, "storage_failed")
        assert api.speak("heart")


WRITER = """
import sys
from ishowtts._native import Config, Voices
voices = Voices(Config.load(None, []))
print("ready", flush=True)
for round in range(10**6):
    clip, text = sys.argv[1 + round % 2], f"text {round % 2}"
    voices.add("mine", clip, text=text, name=text, replace=True)
    if round % 5 == 4:
        voices.add(f"other{round % 3}", clip, text=text, name=text, replace=True)
        voices.remove(f"other{round % 3}")
"""


def test_whenever_it_is_killed_a_voice_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one.wav", tmp_path / "two.wav"
    one.write_bytes(clips.wav(150, seconds=2))
    two.write_bytes(clips.wav(300, seconds=2))
    command = [sys.executable, "-c", WRITER, str(one), str(two)]
    chance = random.Random(7)
    folder = tmp_path / "data" / "ishowtts" / "voices"
    clip_of_text: dict[str, bytes] = {}
    left_behind = 0
    for number in range(25):
        writer = subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        if number:
            time.sleep(chance.uniform(0, 0.12))
        else:
            wait_until((folder / "mine").is_dir, "the first is written")
            time.sleep(0.3)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        left_behind += sum(path.name.startswith((".new", ".old", ".gone")) for path in folder.iterdir())
        # A process of its own, as after a restart.
        read = subprocess.run(
            [sys.executable, "-c", "import base64, json\nfrom ishowtts._native import Config, Voices\n"
             "voices = Voices(Config.load(None, []))\nmine = voices.get('mine')\n"
             "mine['reference_audio'] = base64.b64encode(mine['reference_audio']).decode()\nprint(json.dumps(mine))"],
            env=environment(tmp_path), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert read.returncode == 0, read.stderr
        assert read.stderr == "", "nothing on disk is half a voice"
        mine = json.loads(read.stdout)
        # Name, text and clip were written together.
        assert mine["name"] == mine["reference_text"]
        assert clip_of_text.setdefault(mine["name"], mine["reference_audio"]) == mine["reference_audio"]
    assert left_behind, "it was never killed in the midst of a change: the test shows nothing"
