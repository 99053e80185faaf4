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
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import clips
import httpx
import pytest
from harness import Server, environment, run, wait_until
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


FAILING_SYNC = r"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int fsync(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    if (strcmp(path, getenv("FAILING_PATH")) == 0 && access(getenv("FAILING_IF"), F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}
"""


@pytest.mark.skipif(shutil.which("cc") is None or sys.platform != "linux", reason="no C compiler, or not Linux")
def test_a_change_that_the_disk_does_not_confirm_counts_and_is_told(tmp_path: Path) -> None:
    library, flag = tmp_path / "sync.so", tmp_path / "fail"
    build = ["cc", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-"]
    subprocess.run(build, input=FAILING_SYNC, text=True, check=True, timeout=60)
    folder = tmp_path / "data" / "ishowtts" / "voices"
    env = {"LD_PRELOAD": str(library), "FAILING_PATH": str(folder), "FAILING_IF": str(flag)}
    with Server(tmp_path, engine="fake", config=CONFIG, env=env) as server:
        api = Api(server)
        assert api.add("mine").status_code == 201
        before = api.speak("mine")
        flag.touch()
        error = refused(api.post("/v1/voices/mine", clips.wav(300)), 500, "storage_unconfirmed")
        assert "was made" in error["message"]
        after = api.speak("mine")
        assert after != before, "it counts at once"
        # A power cut may bring the old one's name back: what it stands for is still there.
        assert (folder / ".old-mine" / "reference.wav").is_file()
        refused(api.add("other"), 500, "storage_failed")
        assert "other" not in api.ids()
        refused(api.http.delete("/v1/voices/mine"), 500, "storage_failed")
        assert api.speak("mine") == after

        flag.unlink()
        assert api.add("other").status_code == 201
        assert not (folder / ".old-mine").exists()
        flag.touch()
        refused(api.http.delete("/v1/voices/other"), 500, "storage_unconfirmed")
        assert "other" not in api.ids()
        assert (folder / ".gone-other" / "reference.wav").is_file()
        refused(api.post("/api/voices/heart/reference", text="Other."), 500, "storage_failed")
        flag.unlink()
        over = api.post("/api/voices/heart/reference", clips.wav(), text="Other.")
        assert over.status_code == 200
        assert not (folder / ".gone-other").exists()
        flag.touch()
        refused(api.http.delete("/api/voices/heart/reference"), 500, "storage_unconfirmed")
        assert not api.http.get("/v1/voices/heart").json()["overridden"]
        wait_until(lambda: server.log.count("the disk does not confirm it") == 3, "each is told")


class TestByHand:
    """Folders that people make: each fault has its name, and no other voice suffers from it."""

    GOOD = '[reference]\ntext = "What is said."\n'
    FAULTS: ClassVar[dict[str, tuple[bytes | None, str, str]]] = {
        "long": (clips.wav(seconds=31), GOOD, "clip_too_long"),
        "silent": (clips.wav_of(clips.hum() * 0), GOOD, "silent_clip"),
        "slow": (clips.wav_of(clips.hum(), rate_hz=4_000), GOOD, "unsupported_sample_rate"),
        "cut": (clips.wav()[:30], GOOD, "broken_clip"),
        "song": (b"ID3 is no WAV file", GOOD, "unknown_clip_format"),
        "clipless": (None, GOOD, "clip_missing"),
        "mute": (clips.wav(), '[reference]\ntext = " "\n', "text_empty"),
        "textless": (clips.wav(), "", "text_missing"),
        "gain": (clips.wav(), "gain = 3\n" + GOOD, "unknown_key"),
        "other": (clips.wav(), GOOD + 'tone = "a"\n', "unknown_key"),
        "half": (clips.wav(), "speed = \n" + GOOD, "manifest_invalid"),
    }

    @staticmethod
    def place(folder: Path, clip: bytes | None, rest: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if clip is not None:
            (folder / "reference.wav").write_bytes(clip)
        head = f'id = "{folder.name}"\nname = "By hand"\nlanguages = ["en"]\nlicence = "CC0-1.0"\n'
        (folder / "voice.toml").write_text(head + rest, encoding="utf-8")

    def check(self, api: Api) -> None:
        """What is wrong is told with its folder and its name; the others speak."""
        for name, (_, _, code) in self.FAULTS.items():
            api.server.wait_line(rf"/voices/{name}/\S+: .*\({code}\)")
            refused(api.http.get(f"/v1/voices/{name}"), 404, "voice_not_found")
        assert set(self.FAULTS).isdisjoint(api.ids())
        assert api.speak("good") != api.speak("heart")

    def test_what_is_there_at_the_start(self, tmp_path: Path) -> None:
        folder = tmp_path / "data" / "ishowtts" / "voices"
        self.place(folder / "good", clips.wav(), self.GOOD)
        for name, (clip, rest, _) in self.FAULTS.items():
            self.place(folder / name, clip, rest)
        with Server(tmp_path, engine="fake", config=CONFIG) as server:
            self.check(Api(server))
        listed = run(["voices", "list", "--json"], tmp_path)
        assert listed.returncode == 0
        assert {voice["id"] for voice in json.loads(listed.stdout)}.isdisjoint(self.FAULTS)
        for name, (_, _, code) in self.FAULTS.items():
            assert any(f"/{name}/" in line and f"({code})" in line for line in listed.stderr.splitlines()), name

    def test_what_comes_while_it_speaks(self, tmp_path: Path) -> None:
        folder = tmp_path / "data" / "ishowtts" / "voices"
        self.place(folder / "good", clips.wav(), self.GOOD)
        with Server(tmp_path, engine="fake", config=CONFIG) as server:
            api = Api(server)
            spoken = api.speak("good")
            for name, (clip, rest, _) in self.FAULTS.items():
                self.place(folder / name, clip, rest)
            self.check(api)
            # Mended, one is there; spoilt, the other speaks as before.
            self.place(folder / "long", clips.wav(200), self.GOOD)
            wait_until(lambda: "long" in api.ids(), "the mended one is there")
            self.place(folder / "good", clips.wav_of(clips.hum() * 0), self.GOOD)
            server.wait_line(r"/voices/good/\S+: is silent.*the version before is spoken \(silent_clip\)")
            assert api.speak("good") == spoken


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
    for number in range(200):
        if number >= 25 and left_behind:
            break
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


def test_whenever_the_server_is_killed_an_override_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    versions = {f"text {number}": clips.wav(150 + 50 * number, seconds=1.5) for number in range(3)}
    chance = random.Random(7)
    folder = tmp_path / "data" / "ishowtts" / "voices"
    path = "/api/voices/heart/reference"
    server = Server(tmp_path, engine="fake", config=CONFIG)
    clip_of_text: dict[str, bytes] = {}
    left_behind = 0

    def write(api: Api, written: threading.Event, seed: int) -> None:
        order = random.Random(seed)
        with contextlib.suppress(httpx.TransportError):
            while True:
                if order.random() < 0.2:
                    assert api.http.delete(path).status_code == 200
                else:
                    text = order.choice(list(versions))
                    assert api.post(path, versions[text], text=text).status_code == 200
                    written.set()

    for number in range(100):
        if number >= 13 and left_behind and len(clip_of_text) > 1:
            break
        server.lines.clear()
        with server:
            api = Api(server)
            assert "WARN" not in server.log, server.log
            told = api.http.get(path).json()
            if told["override_audio_available"]:
                # Clip and text were written together.
                clip = api.http.get(f"{path}/audio?source=override").content
                assert clip_of_text.setdefault(told["override_reference_text"], clip) == clip
            else:
                assert told["active_reference_text"] == told["baseline_reference_text"]
            assert api.speak("heart")
            written = threading.Event()
            seeds = range(3 * number, 3 * number + 3)
            writers = [threading.Thread(target=write, args=(Api(server), written, seed)) for seed in seeds]
            for writer in writers:
                writer.start()
            assert written.wait(60)
            time.sleep(chance.uniform(0, 0.12))
            server.process.kill()
            for writer in writers:
                writer.join()
        left_behind += sum(entry.name.startswith((".new", ".old", ".gone")) for entry in folder.iterdir())
    assert len(clip_of_text) > 1, "nothing was ever replaced: the test shows nothing"
    assert left_behind, "it was never killed in the midst of a change: the test shows nothing"
