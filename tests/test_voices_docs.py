"""What docs/voices.md tells people to type, typed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import clips
import pytest
from harness import COMMAND, Server, environment, wav_samples
from ishowtts.audio import encode

PAGE = Path(__file__).resolve().parent.parent / "docs" / "voices.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed (scripts/test_tools.sh)")
def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    commands = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(commands) >= 3
    script = "\n".join(commands)
    for name in ("anna.mp3", "ben.mp3"):
        (tmp_path / name).write_bytes(encode(clips.hum(), clips.RATE_HZ, "mp3"))
    # It would play it, and need weights and their licence.
    played = "ishowtts voices preview ben --engine f5\n"
    assert played in script
    script = script.replace(played, "ishowtts voices preview ben --engine fake -o preview.wav\n")
    with Server(tmp_path, engine="fake") as server:
        script = script.replace("localhost:8880", f"127.0.0.1:{server.port}")
        run = subprocess.run(
            ["sh", "-ec", 'curl() { command curl --fail-with-body --noproxy "*" "$@"; }\n' + script],
            cwd=tmp_path,
            env=environment(tmp_path) | {"PATH": f"{COMMAND.parent}:/usr/local/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert run.returncode == 0, (run.stdout, run.stderr)
    for name in ("hello.wav", "preview.wav"):
        assert wav_samples((tmp_path / name).read_bytes()).size > clips.RATE_HZ // 4


def test_the_page_tells_every_way_in_which_the_disk_fails(hibari: Server) -> None:
    document = hibari.get("/openapi.json").body.decode()
    codes = set(re.findall(r"\bstorage_[a-z]+", document))
    assert codes, "the document tells them"
    assert set(re.findall(r"\bstorage_[a-z]+", PAGE.read_text(encoding="utf-8"))) == codes
