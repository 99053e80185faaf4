"""The mel spectrogram that F5-TTS and Vocos share. Pure; no thread of its own.

Equal to ``torchaudio.transforms.MelSpectrogram(24000, n_fft=1024, hop_length=256, n_mels=100, power=1, center=True,
norm=None)`` followed by ``clamp(1e-5).log()`` (``get_vocos_mel_spectrogram`` of f5-tts 1.1.22), without torchaudio.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from ishowtts.engines.f5.config import HOP, N_FFT, SAMPLE_RATE_HZ


def log_mel(samples: torch.Tensor, mel_dim: int = 100) -> torch.Tensor:
    """``[samples]`` float32 at 24 kHz to ``[samples // 256 + 1, mel_dim]``."""
    spectrum = torch.stft(
        samples, N_FFT, HOP, N_FFT, _window(samples.device), center=True, pad_mode="reflect", return_complex=True
    ).abs()
    return (spectrum.t() @ _filters(mel_dim, samples.device)).clamp(min=1e-5).log()


@lru_cache(maxsize=8)
def _window(device: torch.device) -> torch.Tensor:
    return torch.hann_window(N_FFT, device=device)


@lru_cache(maxsize=8)
def _filters(mel_dim: int, device: torch.device) -> torch.Tensor:
    """Triangles on the HTK scale, ``[bins, mel_dim]``."""
    frequencies = torch.linspace(0, SAMPLE_RATE_HZ // 2, N_FFT // 2 + 1)
    highest = 2595.0 * math.log10(1.0 + (SAMPLE_RATE_HZ // 2) / 700.0)
    edges = 700.0 * (10.0 ** (torch.linspace(0.0, highest, mel_dim + 2) / 2595.0) - 1.0)
    widths = edges[1:] - edges[:-1]
    slopes = edges[None, :] - frequencies[:, None]
    falling, rising = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    return torch.minimum(falling, rising).clamp(min=0.0).to(device)
