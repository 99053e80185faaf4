"""Voices that come and go over HTTP while the server speaks: uploads good and hostile, overrides."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import clips
import httpx
import numpy as np
import pytest
from harness import Server, run, wait_until, wav_samples
from ishowtts.audio import encode
from voices_client import CONFIG, SAID, TEXT, Api, refused

Start = Callable[..., Server]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with Server(tmp_path_factory.mktemp("voices"), engine="fake", config=CONFIG) as server:
        yield Api(server)


@pytest.fixture
def api(shared: Api) -> Iterator[Api]:
    """The shared server; after the test it has the shipped voices alone, and speaks as it did."""
    before = shared.speak("heart")
    yield shared
    for voice in shared.http.get("/v1/voices").json()["voices"]:
        if voice["origin"] == "user" or voice["overridden"]:
            assert shared.http.delete(f"/v1/voices/{voice['id']}").status_code == 204
    assert shared.speak("heart") == before
    left = shared.server.home / "data" / "ishowtts" / "voices"
    assert not left.exists() or [path.name for path in left.iterdir()] in ([".lock"], [])


class TestAdding:
    def test_a_voice_in_one_call(self, api: Api) -> None:
        added = api.add("mine", name="Mine", description="Me", language="en-GB, vi", licence="CC0-1.0", speed="1.5")
        assert added.status_code == 201, added.text
        told = added.json()
        voice = told["voice"]
        assert voice["id"] == "mine"
        assert (voice["name"], voice["languages"], voice["speed"]) == ("Mine", ["en-GB", "vi"], 1.5)
        assert (voice["origin"], voice["cloned"], voice["overridden"]) == ("user", True, False)
        assert voice["reference_text"] == TEXT
        assert told["clip"]["source"]["format"] == "WAV"
        assert 1 < told["clip"]["duration_s"] <= 3
        assert api.http.get("/v1/voices/mine").json() == voice
        assert voice in api.http.get("/v1/voices").json()["voices"]
        listed = api.http.get("/v1/audio/voices").json()["voices"]
        assert next(entry for entry in listed if entry["id"] == "mine")["cloned"]
        assert api.speak("mine") != api.speak("heart")

    def test_its_clip_is_given_back(self, api: Api) -> None:
        api.add("mine")
        clip = api.http.get("/v1/voices/mine/audio")
        assert clip.headers["content-type"] == "audio/wav"
        assert wav_samples(clip.content).size > clips.RATE_HZ
        assert wav_samples(api.http.get("/v1/voices/heart/audio").content).size > clips.RATE_HZ
        api.post("/v1/voices", id="low", engine='{"hibari": {"pitch_semitones": -5}}')
        refused(api.http.get("/v1/voices/low/audio"), 404, "clip_not_found")

    def test_an_id_is_made_of_the_name(self, api: Api) -> None:
        added = api.post("/v1/voices", clips.wav(), name="My Own Voice!", text=TEXT)
        assert added.json()["voice"]["id"] == "my-own-voice"
        refused(api.post("/v1/voices", clips.wav(), text=TEXT), 400, "id_missing")

    def test_one_id_is_one_voice(self, api: Api) -> None:
        api.add("mine")
        refused(api.add("mine"), 409, "voice_exists")
        changed = api.post("/v1/voices/mine", name="Another name")
        assert changed.status_code == 200, changed.text
        assert changed.json()["voice"]["reference_text"] == TEXT
        assert "clip" not in changed.json()
        clip = api.http.get("/v1/voices/mine/audio").content
        replaced = api.post("/v1/voices/mine", clips.wav(220))
        assert replaced.json()["voice"]["version"] != changed.json()["voice"]["version"]
        assert api.http.get("/v1/voices/mine/audio").content != clip
        assert api.post("/v1/voices/new", clips.wav(), text=TEXT).status_code == 201
        refused(api.post("/v1/voices/new", id="other"), 400, "invalid_value")

    def test_where_a_clip_is_from_stays_with_it(self, api: Api) -> None:
        folder = api.server.home / "data" / "ishowtts" / "voices" / "mine"
        api.add("mine")
        manifest = folder / "voice.toml"
        manifest.write_text(manifest.read_text(encoding="utf-8") + 'source = "Myself, 2026"\n', encoding="utf-8")

        def source() -> Any:
            return api.http.get("/v1/voices/mine").json().get("reference_source")

        wait_until(lambda: source() == "Myself, 2026", "the change is seen")
        changed = api.post("/v1/voices/mine", name="Another name", text="Other words.")
        assert changed.json()["voice"]["reference_source"] == "Myself, 2026"
        assert 'source = "Myself, 2026"' in manifest.read_text(encoding="utf-8")
        over = "/api/voices/mine/reference"
        assert api.post(over, text="Others again.").status_code == 200
        assert source() == "Myself, 2026"
        assert api.post(over, clips.wav(300)).status_code == 200
        assert source() is None
        assert api.http.delete(over).status_code == 200
        assert source() == "Myself, 2026"
        assert "reference_source" not in api.post("/v1/voices/mine", clips.wav(220)).json()["voice"]
        assert api.http.get("/v1/voices/heart").json()["reference_source"].startswith("Spoken by this voice")

    def test_a_voice_of_hints_needs_no_clip(self, api: Api) -> None:
        added = api.post("/v1/voices", id="low", engine='{"hibari": {"voice": "heart", "pitch_semitones": -5}}')
        assert added.status_code == 201, added.text
        assert added.json()["voice"]["engine"]["hibari"]["pitch_semitones"] == -5
        refused(api.post("/v1/voices", id="low2", engine='{"hibari": {"a": null}}'), 400, "invalid_voice")
        refused(api.post("/v1/voices", id="low2", engine="[]"), 400, "invalid_value")

    def test_hints_that_an_engine_here_refuses_make_no_voice(self, api: Api, hibari: Server) -> None:
        plain = Api(hibari)
        for hints, named in [('{"hibari": {"bogus": 3}}', "bogus"),
                             ('{"hibari": {"pitch_semitones": 99}}', "pitch_semitones")]:  # fmt: skip
            for path, fields in [("/v1/voices", {"id": "low"}), ("/v1/voices/low", {})]:
                for audio in (None, clips.wav()):
                    answer = plain.post(path, audio, engine=hints, **fields, **({"text": TEXT} if audio else {}))
                    error = refused(answer, 400, "invalid_voice")
                    assert error["param"] == "engine"
                    assert named in error["message"]
        assert "low" not in plain.ids()
        # Nobody here knows what they mean.
        assert api.post("/v1/voices", id="low", engine='{"hibari": {"bogus": 3}}').status_code == 201
        refused(api.post("/v1/voices/low", engine='{"fake": {"refuse": true}}'), 400, "invalid_voice")
        assert api.http.get("/v1/voices/low").json()["engine"] == {"hibari": {"bogus": 3}}
        assert api.post("/v1/voices/low", engine='{"fake": {"other": true}}').status_code == 200
        assert api.speak("low")

    def test_a_users_voice_goes_before_a_shipped_one(self, api: Api) -> None:
        shipped = api.speak("heart")
        assert api.add("heart").status_code == 201
        assert api.speak("heart") != shipped
        assert api.http.delete("/v1/voices/heart").status_code == 204
        assert api.speak("heart") == shipped
        refused(api.http.delete("/v1/voices/heart"), 409, "voice_shipped")

    def test_what_is_poor_is_warned_of(self, api: Api) -> None:
        clipped = (clips.hum() * 40).clip(-1, 1)
        warned = api.add("mine", clips.wav_of(clipped)).json()["warnings"]
        assert "clipped" in [warning["code"] for warning in warned]
        assert all(warning["code"] and len(warning["message"]) > 20 for warning in warned)

    def test_preview(self, api: Api) -> None:
        api.add("mine", language="vi")
        own = api.http.post("/v1/voices/mine/preview")
        assert own.status_code == 200, own.text
        assert wav_samples(own.content).size
        said = api.http.post("/v1/voices/mine/preview", json={"text": SAID, "format": "pcm", "seed": 7})
        assert said.content == api.speak("mine")
        assert api.http.post("/v1/voices/alloy/preview").headers["x-ishowtts-voice"] == "heart"
        refused(api.http.post("/v1/voices/nobody/preview"), 404, "voice_not_found")

    def test_other_pages_may_not(self, api: Api) -> None:
        foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        paths = ["/v1/voices", "/v1/voices/a", "/v1/voices/heart/preview", "/api/voices/heart/reference"]
        for method, path in [("DELETE", "/v1/voices/a"), *(("POST", path) for path in paths)]:
            refused(api.http.request(method, path, headers=foreign), 403, "origin_not_allowed")


WAYS_IN = [
    ("/v1/voices/mine", "audio"),
    ("/v1/tts", "reference_audio"),
    ("/api/voices/heart/reference", "audio"),
]
"""Of a clip, and the part of the form in which it comes."""
HOSTILE = [
    (b"", "empty_clip"),
    (b"This is a text, whatever it is called.\n" * 100, "unknown_clip_format"),
    (b"RIFF\xff\xff\xff\xffWAVEfmt ", "broken_clip"),
    (b"RIFF\x24\x00\x00\x00WAVEdata\xff\xff\xff\xff", "broken_clip"),
    (b"\x00" * 100_000, "unknown_clip_format"),
    (clips.wav()[:44], "broken_clip"),
    (clips.wav_of(clips.hum() * 0), "silent_clip"),
    (clips.wav(seconds=0.3), "clip_too_short"),
]


class TestHostile:
    @pytest.mark.parametrize(("audio", "code"), HOSTILE, ids=lambda value: repr(value[:30]))
    def test_what_is_no_clip_is_named(self, api: Api, audio: bytes, code: str) -> None:
        for path, part in WAYS_IN:
            form = {"text": (None, TEXT), "reference_text": (None, TEXT), part: ("fine.wav", audio, "audio/wav")}
            if audio or not path.startswith("/api/"):
                assert refused(api.http.post(path, files=form), 400, code)["param"] == part
        assert "mine" not in api.ids()
        assert not api.http.get("/v1/voices/heart").json()["overridden"]

    @pytest.mark.parametrize(
        ("place", "kind", "value"),
        [*((40, "I", size) for size in (0, 1 << 31, 0xFFFF_FFF0, 100)), (4, "I", 0), (4, "I", 0xFFFF_FFFF),
         (16, "I", 0xFFFF_FFF0), (22, "H", 0), (22, "H", 0xFFFF), (24, "I", 0), (24, "I", 0xFFFF_FFFF), (32, "H", 0),
         (34, "H", 0), (34, "H", 0xFFFF)],
    )  # fmt: skip
    def test_a_wav_that_lies_about_itself(self, api: Api, place: int, kind: str, value: int) -> None:
        """Of its length, that of its chunks, its channels, rate, frames and bits."""
        lying = bytearray(clips.wav())
        struct.pack_into(f"<{kind}", lying, place, value)
        answer = api.add("mine", bytes(lying))
        # What is there is taken, or it is told what is not; nobody believes the number.
        if answer.status_code == 201:
            assert answer.json()["clip"]["source"]["duration_s"] <= 3.01
        else:
            assert answer.status_code == 400, answer.text
        assert api.ids()

    def test_a_small_file_that_unpacks_into_hours_is_given_up(self, api: Api) -> None:
        hours = encode(np.zeros(3 * 3600 * 8_000, np.float32), 8_000, "flac")
        assert len(hours) < 4 << 20
        for path, part in WAYS_IN:
            form = {"text": (None, TEXT), "reference_text": (None, TEXT), part: ("a.flac", hours)}
            refused(api.http.post(path, files=form), 400, "clip_too_long")

    @pytest.mark.parametrize(
        "id", ["../evil", "..", ".", "/etc/passwd", "a/b", "a\\b", "A", "", "é", "声音", "a b", "a\0b", ".old-heart",
               "heart.override", "-a", "a" * 65, "%2e%2e", "con\n", "e\u0301", "\uff41nna", "\u0430nna", "anna\u200b",
               "\u202enna", "\u212aate", "\u0131d", "\U0001f600"]
    )  # fmt: skip
    def test_ids_are_no_paths(self, api: Api, id: str) -> None:
        home = sorted(path for path in api.server.home.rglob("*"))
        answer = api.add(id)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] in (("invalid_id", "invalid_value") if id else ("id_missing",))
        quoted = "".join(f"%{byte:02X}" for byte in id.encode())
        for method, path in [("GET", ""), ("DELETE", ""), ("GET", "/audio"), ("POST", "/preview")]:
            if id:
                refused(api.http.request(method, f"/v1/voices/{quoted}{path}"), 404, "voice_not_found")
        if id:
            refused(api.post(f"/v1/voices/{quoted}", clips.wav(), text=TEXT), 400, "invalid_id")
            refused(api.post(f"/api/voices/{quoted}/reference", clips.wav(), text=TEXT), 404, "voice_not_found")
        assert sorted(path for path in api.server.home.rglob("*")) == home

    def test_a_name_that_is_not_utf_8(self, api: Api) -> None:
        for method, path in [
            ("GET", "/v1/voices/%ff"),
            ("DELETE", "/v1/voices/%ff"),
            ("GET", "/api/voices/%ff/reference"),
        ]:
            refused(api.http.request(method, path), 400, "invalid_value")

    @pytest.mark.parametrize("name", ["../../evil.wav", "/etc/cron.d/evil", "..\\evil", "é\u202e.wav", "a" * 5000])
    def test_names_of_files_are_not_looked_at(self, api: Api, name: str) -> None:
        added = api.add("mine", (name, clips.wav(), "audio/wav"))
        assert added.status_code == 201, added.text
        folder = api.server.home / "data" / "ishowtts" / "voices"
        assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
            ".lock", "mine/reference.wav", "mine/voice.toml"
        ]  # fmt: skip

    def test_forms_that_are_none(self, api: Api) -> None:
        for body, kind in [
            (b"{}", "application/json"),
            (b"", "multipart/form-data"),
            (b"nothing", "multipart/form-data; boundary=x"),
            (b"--x\r\n", "multipart/form-data; boundary=x"),
            (b"--x\r\nContent-Disposition: form-data\r\n\r\n" * 100_000, "multipart/form-data; boundary=x"),
            (b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n" * 1_000 + b"--x--",
             "multipart/form-data; boundary=x"),
        ]:  # fmt: skip
            refused(api.http.post("/v1/voices", content=body, headers={"Content-Type": kind}), 400, "invalid_form")
        refused(api.post("/v1/voices/mine", clips.wav(), text=" "), 400, "transcript_missing")
        refused(api.post("/v1/voices/mine", clips.wav()), 400, "transcript_missing")
        refused(api.post("/v1/voices/mine", text=TEXT), 400, "audio_missing")
        refused(api.post("/v1/voices/mine"), 400, "audio_missing")
        refused(api.add("mine", speed="9"), 400, "invalid_value")
        refused(api.add("mine", language="not a tag"), 400, "invalid_value")
        refused(api.add("mine", text="a" * 100_000), 400, "invalid_voice")
        twice = [("id", (None, "a")), ("id", (None, "b"))]
        refused(api.http.post("/v1/voices", files=twice), 400, "invalid_value")

    @pytest.mark.parametrize(("path", "part"), WAYS_IN)
    def test_200_mb_are_refused_before_they_have_all_come(self, api: Api, path: str, part: str) -> None:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: {200 << 20}\r\nExpect: 100-continue\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", api.server.port), 30) as connection:
            connection.sendall(head.encode())
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413 ")
        sent = 0

        def stream() -> Iterator[bytes]:
            nonlocal sent
            yield f'--x\r\nContent-Disposition: form-data; name="{part}"\r\n\r\n'.encode()
            for _ in range(200):
                sent += 1 << 20
                yield bytes(1 << 20)

        # Nobody said how long it would be.
        with contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            answer = api.http.post(path, content=stream(), headers={"Content-Type": "multipart/form-data; boundary=x"})
            refused(answer, 413, "body_too_large")
        assert sent < 150 << 20
        assert api.ids()

    def test_an_upload_and_the_command_line_at_once(self, start: Start, tmp_path: Path) -> None:
        (tmp_path / "a.wav").write_bytes(clips.wav(220))
        api = Api(start(engine="fake", config=CONFIG))
        folder = api.server.home / "data" / "ishowtts" / "voices"

        def by_command() -> bool:
            ended = run(["voices", "add", "mine", tmp_path / "a.wav", "--text", TEXT], api.server.home)
            assert ended.returncode == 0 or "of yours already" in ended.stderr, ended.stderr
            return ended.returncode == 0

        def by_upload() -> bool:
            wait_until(folder.exists, "a command writes")
            answer = api.add("mine")
            assert answer.status_code in (201, 409), answer.text
            return answer.status_code == 201

        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(adds) for adds in (by_command, by_command, by_upload, by_upload)]
            assert sum(adding.result() for adding in running) == 1
        wait_until(lambda: "mine" in api.ids(), "the one that was first is seen")

    def test_two_uploads_of_one_id_at_once(self, api: Api) -> None:
        pitches = [120 + 10 * number for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda pitch: api.add("mine", clips.wav(pitch), name=f"{pitch}"), pitches))
        added = [answer for answer in answers if answer.status_code == 201]
        assert len(added) == 1
        for answer in answers:
            if answer is not added[0]:
                refused(answer, 409, "voice_exists")
        with ThreadPoolExecutor(8) as pool:
            changed = list(
                pool.map(
                    lambda pitch: api.post("/v1/voices/mine", clips.wav(pitch), name=f"{pitch}", text=f"{pitch}"),
                    pitches,
                )
            )
        assert all(answer.status_code == 200 for answer in changed)
        last = api.http.get("/v1/voices/mine").json()
        # Name, text and clip are of one upload, not of several.
        assert last["name"] == last["reference_text"]
        assert last["version"] in [answer.json()["voice"]["version"] for answer in changed]


class TestWhileItSpeaks:
    def test_a_voice_is_removed_during_its_speech(self, api: Api, start: Start) -> None:
        slow = Api(start(engine="fake", config="[engines.fake]\nstep_ms = 300\n"))
        slow.add("mine")
        text = " ".join(f"This is sentence number {number} of them." for number in range(6))
        whole = slow.server.speak(text, voice="mine", seed=7).body
        with slow.server.streaming(text, voice="mine", seed=7) as speech:
            begun = speech.read(1000)
            assert slow.http.delete("/v1/voices/mine").status_code == 204
            refused(slow.http.post("/v1/tts", json={"text": "a", "voice": "mine"}), 404, "voice_not_found")
            assert begun + speech.read() == whole
        assert slow.add("mine", clips.wav(250)).status_code == 201

    def test_a_voice_is_replaced_during_its_speech(self, start: Start) -> None:
        slow = Api(start(engine="fake", config="[engines.fake]\nstep_ms = 400\n"))
        slow.add("mine")
        clip = slow.server.home / "data" / "ishowtts" / "voices" / "mine" / "reference.wav"

        def version() -> str:
            return str(slow.http.get("/v1/voices/mine").json()["version"])

        for sentences, replace in (
            (6, lambda: slow.post("/v1/voices/mine", clips.wav(250))),
            (6, lambda: slow.post("/api/voices/mine/reference", clips.wav(300))),
            (6, lambda: slow.http.delete("/api/voices/mine/reference")),
            # Which is seen after a while.
            (14, lambda: clip.write_bytes(clips.wav(350))),
        ):
            text = " ".join(f"This is sentence number {number} of them." for number in range(sentences))
            whole, before = slow.server.speak(text, voice="mine", seed=7).body, version()
            with slow.server.streaming(text, voice="mine", seed=7) as speech, ThreadPoolExecutor(1) as pool:
                begun = speech.read(1000)
                rest = pool.submit(speech.read)
                replace()
                wait_until(lambda before=before: version() != before, "the new version is there")
                meanwhile = slow.speak("mine")
                assert not rest.done(), "it still speaks"
                assert begun + rest.result() == whole
            assert slow.speak("mine") == meanwhile, "whoever asks meanwhile gets the new one"

    def test_a_folder_that_changes_is_picked_up(self, api: Api) -> None:
        folder = api.server.home / "data" / "ishowtts" / "voices" / "byhand"
        folder.mkdir(parents=True)
        (folder / "reference.wav").write_bytes(clips.wav())
        manifest = (
            'id = "byhand"\nname = "By hand"\nlanguages = ["en"]\nlicence = "CC0-1.0"\n[reference]\ntext = "Hi."\n'
        )
        (folder / "voice.toml").write_text(manifest)
        wait_until(lambda: "byhand" in api.ids(), "the new folder is seen")
        first = api.speak("byhand")
        (folder / "reference.wav").write_bytes(clips.wav(300))
        wait_until(lambda: api.speak("byhand") != first, "another clip is heard")
        second = api.speak("byhand")
        over = folder.with_name("nobody.override")
        over.mkdir()
        (over / "override.toml").write_text('text = "Hi."\n')
        api.server.wait_line(r"nobody\.override/override\.toml: is an override .*\(override_of_nothing\)")
        shutil.rmtree(over)
        (folder / "voice.toml").write_text(manifest + "gain = 3\n")
        api.server.wait_line(r"unknown field `gain`.*the version before is spoken \(unknown_key\)")
        assert api.speak("byhand") == second
        shutil.rmtree(folder)
        wait_until(lambda: "byhand" not in api.ids(), "it is gone")


class TestOneOff:
    def test_a_clip_in_the_request_is_cloned_and_nothing_is_kept(self, api: Api) -> None:
        before = api.ids()
        form = {"text": (None, SAID), "seed": (None, "7"), "format": (None, "pcm"), "reference_text": (None, TEXT)}

        def say(pitch_hz: float, **more: Any) -> httpx.Response:
            return api.http.post("/v1/tts", files=form | {"reference_audio": ("a.wav", clips.wav(pitch_hz))} | more)

        one, other = say(150), say(250)
        assert one.status_code == 200, one.text
        assert one.headers["x-ishowtts-voice"] == "reference"
        assert one.content != other.content
        again = say(150)
        assert again.content == one.content
        assert again.headers["x-ishowtts-cache"] == "miss"
        assert api.ids() == before
        assert say(150, stream_format=(None, "jsonl")).text.count('"type":"done"') == 1
        refused(say(150, voice=(None, "heart")), 400, "invalid_reference")
        refused(say(150, reference_text=(None, " ")), 400, "transcript_missing")
        refused(say(150, params=(None, "7")), 400, "invalid_value")
        refused(say(150, reference_audio=("a.wav", b"no sound")), 400, "unknown_clip_format")
        plain = {name: value for name, value in form.items() if name != "reference_text"}
        assert api.http.post("/v1/tts", files=plain).content == api.speak("heart")
        refused(api.http.post("/v1/tts", files=form), 400, "invalid_reference")

    def test_an_engine_that_does_not_clone_says_so(self, hibari: Server) -> None:
        form = {"text": (None, SAID), "reference_text": (None, TEXT), "reference_audio": ("a.wav", clips.wav())}
        answer = httpx.post(f"{hibari.url}/v1/tts", files=form, trust_env=False)
        assert refused(answer, 400, "voice_not_cloned")["param"] == "voice"


class TestOriginal:
    PATH = "/api/voices/mine/reference"

    def test_the_round_trip_of_an_override(self, api: Api) -> None:
        api.add("mine", language="en-GB")
        baseline, clip = api.speak("mine"), api.http.get("/v1/voices/mine/audio").content
        told = api.http.get(self.PATH).json()
        assert told == {
            "voice_id": "mine", "engine": "fake", "engine_label": "Fake", "language": "en-GB",
            "active_reference_text": TEXT, "baseline_reference_text": TEXT,
            "baseline_audio_available": True, "override_audio_available": False,
        }  # fmt: skip
        refused(api.http.get(f"{self.PATH}/audio?source=override"), 404, "clip_not_found")

        replaced = api.post(self.PATH, clips.wav(300), text=" Other words. ").json()
        updated_at = datetime.fromisoformat(replaced.pop("override_updated_at").replace("Z", "+00:00"))
        assert abs((datetime.now(timezone.utc) - updated_at).total_seconds()) < 60
        assert replaced == told | {
            "active_reference_text": "Other words.", "override_reference_text": "Other words.",
            "override_audio_available": True,
        }  # fmt: skip
        over = api.http.get(f"{self.PATH}/audio?source=Override")
        assert over.content != clip
        assert over.headers["content-type"] == "audio/wav"
        assert over.headers["cache-control"] == "no-store"
        assert over.headers["x-voice-reference-source"] == "override"
        assert api.http.get(f"{self.PATH}/audio?source=baseline").content == clip
        assert api.http.get("/v1/voices/mine/audio").content == over.content
        overridden = api.speak("mine")
        assert overridden != baseline
        assert api.http.get("/v1/voices/mine").json()["overridden"]

        restored = api.http.delete(self.PATH)
        assert restored.json() == told
        assert api.speak("mine") == baseline
        assert api.http.get("/v1/voices/mine/audio").content == clip
        assert api.http.delete(self.PATH).json() == told

    def test_text_and_clip_change_one_by_one(self, api: Api) -> None:
        api.add("mine")
        assert api.post(self.PATH, text="Other.").json()["active_reference_text"] == "Other."
        # As a browser sends a form whose file was not chosen.
        both = api.post(self.PATH, ("", b"", "application/octet-stream"), text="Third.").json()
        assert (both["override_reference_text"], both["override_audio_available"]) == ("Third.", False)
        assert api.post(self.PATH, clips.wav(300)).json()["override_reference_text"] == "Third."
        cleared = api.post(self.PATH, text="").json()
        assert cleared["active_reference_text"] == TEXT
        assert cleared["override_audio_available"]
        refused(api.post(self.PATH), 400, "audio_missing")
        assert not api.http.delete(self.PATH).json()["override_audio_available"]
        for nothing in ("", " \n"):
            refused(api.post(self.PATH, text=nothing), 400, "audio_missing")
            # As a browser sends a form of which nothing was filled in.
            refused(api.post(self.PATH, ("", b""), text=nothing), 400, "audio_missing")
        assert not api.http.get("/v1/voices/mine").json()["overridden"]
        api.post(self.PATH, text="Other.")
        assert "override_reference_text" not in api.post(self.PATH, text="").json()
        assert not api.http.get("/v1/voices/mine").json()["overridden"], "its text was all that it was"
        refused(api.http.get(f"{self.PATH}/audio"), 400, "invalid_value")
        refused(api.http.get(f"{self.PATH}/audio?source=both"), 400, "invalid_value")
        refused(api.post("/api/voices/nobody/reference", text="a"), 404, "voice_not_found")
        api.post("/v1/voices", id="low", engine='{"hibari": {"pitch_semitones": -5}}')
        refused(api.post("/api/voices/low/reference", clips.wav()), 400, "transcript_missing")

    def test_it_outlives_the_server(self, start: Start, tmp_path: Path) -> None:
        first = Api(start(engine="fake", config=CONFIG))
        shipped = first.speak("heart")
        first.post("/api/voices/heart/reference", clips.wav(300), text="Other.")
        over = first.speak("heart")
        assert over != shipped
        first.server.end()
        first.server.lines.clear()
        with first.server:
            second = Api(first.server)
            assert second.speak("heart") == over
            assert second.http.delete("/v1/voices/heart").status_code == 204
            assert second.speak("heart") == shipped
