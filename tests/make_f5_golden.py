#!/usr/bin/env python3
# ruff: noqa: RUF001, E501 - the characters are what this is about
"""Records what the upstream package makes of texts and clips, for tests/test_f5_text.py: run it where f5-tts 1.1.22 is
installed. The tests compare with these everywhere, and with the package itself where it is there."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden" / "f5_text.json"

TEXTS = [
    "", " ", "a", "Hi.", "hello,world", "$3.50", "Hello there; it's “quoted” and ‘so’ on.", "你好，世界！",
    "我们去银行行走，重庆的重量是多少？", "I love 北京 and 上海!", "😀", "😀你好😀ok", "1234 5678", "日本語テスト", "한국어 텍스트",
    "éàü café naïve", "ｆｕｌｌ　ｗｉｄｔｈ１２３", "一不做二不休", "你好 world 123，真的吗？", "〇々〆", "㐀㐁𠀀", "\n\t", "«x»—…",
    "ㄅㄆㄇ", "العربية", "A\u0301B", "中a文", "3点半", "不要了，一起来。", "……", "。。。", "，", "Don't stop; go: now!",
    "https://example.com/a?b=1", "C++ & C#", "主播666", "今天下雨了。Hello world, again", "他说：“好的。”", "长大后长得很长",
    "这是一个很长的句子，里面有很多的字，用来测试分词和多音字的处理方式，行不行？行！", "U.S.A. and e.g. this", "(brackets) [and] {more}",
    "tab\there", "trailing   ", "   leading", "mixed中文and英文with数字123和符号!?", "老师好", "水果小雨展览馆", "五百五", "一一一",
    "time:now", "say'hello'", 'say"hello"', "a hello", "你好hello", "hello你好", "x；y：z",
]  # fmt: skip
CHUNKED = [
    "One sentence. Another, with a clause; and a third: done! Was it? Yes.",
    "这是第一句。这是第二句，有一个分句；还有：一个！是吗？是的。",
    "Mixed text 混合文本。With both，各有一半. Ok?",
    "a" * 200,
    "No punctuation at all in this one but it is long enough to be more than a single chunk of bytes here",
    "",
]
CLIPS = [
    # seconds, rate, channels, bits, seed
    (3.0, 24_000, 1, 16, 0), (9.0, 16_000, 1, 16, 21), (14.0, 44_100, 2, 16, 2), (25.0, 22_050, 1, 16, 23),
    (31.0, 48_000, 2, 16, 4), (20.0, 8_000, 1, 16, 5), (16.0, 11_025, 1, 16, 6), (13.0, 32_000, 1, 32, 7),
    (18.0, 24_000, 1, 16, 8), (21.0, 24_000, 1, 16, 9), (27.0, 24_000, 2, 16, 10), (24.0, 16_000, 1, 16, 11),
]  # fmt: skip


def clip(seconds: float, rate_hz: int, channels: int, bits: int, seed: int) -> np.ndarray:
    """Bursts of noise and pauses, at levels on both sides of upstream's thresholds. ``[frames, channels]``."""
    # Its stream never changes, whatever the version of NumPy.
    random = np.random.RandomState(seed)
    pieces, length = [], 0.0
    while length < seconds:
        piece_s = float(random.uniform(0.05, 2.5))
        from_db, to_db = (float(random.choice([-90, -52, -47, -43, -36, -15])) for _ in range(2))
        frames = int(piece_s * rate_hz)
        fade = 10.0 ** (np.linspace(from_db, to_db, frames) / 20)
        pieces.append(random.uniform(-1, 1, (frames, channels)) * fade[:, None])
        if random.uniform() < 0.4:
            pause_s = float(random.uniform(0.1, 3.0))
            pieces.append(np.zeros((int(pause_s * rate_hz), channels)))
            length += pause_s
        length += piece_s
    sound = np.concatenate(pieces)[: int(seconds * rate_hz)]
    return (sound * (2.0 ** (bits - 1) - 1)).astype(np.int16 if bits == 16 else np.int32)


def wav(samples: np.ndarray, rate_hz: int) -> bytes:
    import wave

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(samples.dtype.itemsize)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype(f"<i{samples.dtype.itemsize}").tobytes())
    return buffer.getvalue()


def upstream_clip(path: Path, text: str) -> tuple[np.ndarray, float, str, float]:
    """Samples at 24 kHz as upstream's model gets them, RMS before that, text, seconds."""
    import soundfile
    import torch
    import torchaudio
    from f5_tts.infer import utils_infer

    with contextlib.redirect_stdout(io.StringIO()):
        prepared, reference_text = utils_infer.preprocess_ref_audio_text(str(path), text, show_info=lambda _: None)
    sound, rate_hz = soundfile.read(prepared, dtype="float32", always_2d=True)
    Path(prepared).unlink()
    audio = torch.mean(torch.from_numpy(sound.T), dim=0, keepdim=True)
    rms = torch.sqrt(torch.mean(torch.square(audio)))
    if rms < 0.1:
        audio = audio * 0.1 / rms
    if rate_hz != 24_000:
        audio = torchaudio.transforms.Resample(rate_hz, 24_000)(audio)
    return audio[0].numpy(), float(rms), reference_text, len(sound) / rate_hz


def main() -> None:
    import tempfile

    from f5_tts.infer.utils_infer import chunk_text
    from f5_tts.model.utils import convert_char_to_pinyin

    clips = []
    with tempfile.TemporaryDirectory() as folder:
        for given in CLIPS:
            path = Path(folder) / "clip.wav"
            path.write_bytes(wav(clip(*given), given[1]))
            samples, rms, _, seconds = upstream_clip(path, "Some text")
            some = [float(value) for value in samples[:: max(1, len(samples) // 50)]]
            clips.append({"given": given, "samples": len(samples), "rms": rms, "seconds": seconds, "some": some})
    golden = {
        "tokens": [[text, convert_char_to_pinyin([text])[0]] for text in TEXTS],
        "chunks": [[text, longest, chunk_text(text, longest)] for text in CHUNKED for longest in (10, 30, 135)],
        "clips": clips,
    }
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(golden, ensure_ascii=False, indent=0), encoding="utf-8")
    print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
