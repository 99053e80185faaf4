"""The diffusion transformer: one call is one evaluation of the flow for any number of requests of any length.

Requests are packed without padding; whatever looks across tokens (attention, the positional convolution) stays within a
request, so what comes out of a request does not depend on its neighbours but for the order of float additions in the
matrix products. The residual stream, x and t are float32 in every precision. Runs on the engine's thread.

Source: ``f5_tts/model/backbones/dit.py`` of f5-tts 1.1.22.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ishowtts.engines.f5 import attention, elementwise, modulation, schedule, text_embedding
from ishowtts.engines.f5 import checkpoint as checkpoints
from ishowtts.engines.f5.block import Block, FloatBlock, Fp8Block, Int8Block, Table, Vectors
from ishowtts.engines.f5.checkpoint import Checkpoint
from ishowtts.engines.f5.config import MAX_FRAMES, Architecture
from ishowtts.engines.f5.convolution import GROUPS, KERNEL, REACH, PositionalConvolution
from ishowtts.engines.f5.graphs import Graphs, Sizes
from ishowtts.engines.f5.linear import Linear
from ishowtts.engines.f5.pack import Pack, lay_out, rotary_table
from ishowtts.engines.f5.precision import Precision
from ishowtts.engines.f5.text_embedding import Ids, TextEmbedding


@dataclass(frozen=True)
class Prompt:
    """What a request brings to every step: the input projection of reference and text, float32 ``[frames, dim]``."""

    frames: int
    conditional: torch.Tensor
    unconditional: torch.Tensor

    @property
    def nbytes(self) -> int:
        return int(self.conditional.nbytes + self.unconditional.nbytes)


@dataclass(frozen=True)
class Evaluation:
    """One request in one step."""

    prompt: Prompt
    x: torch.Tensor
    """float32 ``[frames, mel_dim]``."""
    t: float
    cfg_strength: float
    """0: the tokens without the prompt are left out, half of the work."""

    @property
    def guided(self) -> bool:
        # Upstream's own threshold.
        return self.cfg_strength >= 1e-5


class DiT:
    """Loads strictly: a checkpoint that does not fit raises InvalidSetting with what is wrong."""

    def __init__(
        self,
        config: Architecture,
        checkpoint: Checkpoint,
        vocabulary_size: int,
        precision: Precision,
        *,
        text_cache_bytes: int = 64 << 20,
        compiled: bool = False,
    ) -> None:
        device, dtype = precision.device, precision.dtype
        self.config = config
        self.precision = precision
        self._ops = elementwise.choose(device, compiled)
        self._attention = attention.choose(device, dtype)
        self.graphs: Graphs | None = None
        """Whoever sets it has evaluations go through it."""
        self._pack: tuple[tuple[tuple[int, bool], ...], Pack] | None = None
        with checkpoint:
            checkpoints.check(checkpoint, shapes(config, vocabulary_size), config.name)

            def read(name: str) -> torch.Tensor:
                return checkpoint.tensor(name).to(device, torch.float32)

            self.text = TextEmbedding(config, checkpoint, device, text_cache_bytes)
            self.modulations = modulation.Modulations(config, checkpoint, device)
            self.modulations.keep(schedule.common_times())
            self._angles = rotary_table(checkpoint.tensor("rotary_embed.inv_freq"), MAX_FRAMES, device)
            mel = config.mel_dim
            projection = read("input_embed.proj.weight")
            self._from_noise = projection[:, :mel].t().contiguous()
            self._from_reference = projection[:, mel : 2 * mel].t().contiguous()
            self._from_text = projection[:, 2 * mel :].t().contiguous()
            self._bias = read("input_embed.proj.bias").clone()
            names = [f"input_embed.conv_pos_embed.conv1d.{index}." for index in (0, 2)]
            self.placed = PositionalConvolution(
                [(read(n + "weight").to(dtype, copy=True), read(n + "bias").to(dtype, copy=True)) for n in names]
            )
            kinds: dict[str, Callable[..., Block]] = {"int8": Int8Block, "fp8": Fp8Block}
            block = kinds.get(precision.name, FloatBlock)
            self._blocks = [
                block(config, read, index, precision, self._ops, self._attention) for index in range(config.depth)
            ]
            skip = read("long_skip_connection.weight") if config.long_skip else None
            self._skip = None if skip is None else Linear(skip, None, dtype, device)
            self._out = Linear(read("proj_out.weight"), read("proj_out.bias"), torch.float32, device)

    @property
    def nbytes(self) -> int:
        """Of what is kept of the weights."""
        own = (self._from_noise, self._from_reference, self._from_text, self._bias, self._angles)
        blocks = sum(block.nbytes for block in self._blocks)
        skip = 0 if self._skip is None else self._skip.nbytes
        kept = sum(tensor.nbytes for tensor in own) + self.placed.nbytes + blocks + skip + self._out.nbytes
        return int(kept + self.text.nbytes + self.modulations.nbytes)

    @property
    def compiled(self) -> bool:
        """Whether torch's compiler made a part of it."""
        return self._ops.compiled

    @property
    def paths(self) -> str:
        """What the device was found to do, for those who look for speed."""
        kernels = "Triton's kernels" if self._ops.looks_up else "operators one by one"
        graphs = "no graphs" if self.graphs is None else f"{len(self.graphs)} graphs"
        return f"{self.precision.name}, attention: {self._attention.__name__}, {kernels}, {graphs}"

    @property
    def attends_by_tensors(self) -> bool:
        """Whether tensors alone tell its attention where segments lie, at no extra cost."""
        return self._attention is attention.varlen

    @property
    def sizes(self) -> Sizes:
        config = self.config
        return Sizes(config.dim, config.depth * 6 + 2, config.dim_head // 2, REACH)

    def prompt(self, ids: Ids, reference: torch.Tensor, frames: int) -> Prompt:
        """``reference``: the mel of the clip, ``[reference frames, mel_dim]``, not longer than ``frames``."""
        with_text, without = self.text.embed(ids, frames)
        conditional = torch.addmm(self._bias, with_text, self._from_text)
        conditional[: reference.shape[0]].addmm_(reference, self._from_reference)
        return Prompt(frames, conditional, torch.addmm(self._bias, without, self._from_text))

    def velocities(self, evaluations: Sequence[Evaluation]) -> list[torch.Tensor]:
        """The guided flow of each, float32 ``[frames, mel_dim]``. Changes nothing that it was given."""
        pack = self._lay_out(evaluations)
        hidden = torch.cat([part for evaluation in evaluations for part in self._inputs(evaluation)])
        rows = [self.modulations.row(evaluation.t) for evaluation in evaluations]
        out = None if self.graphs is None else self.graphs.run(hidden, rows, pack)
        if out is None:
            out = self.core(hidden, self._stacked(rows), pack)
        return [_guide(out[start:end], e) for e, (start, end) in zip(evaluations, pack.spans, strict=True)]

    def core(self, hidden: torch.Tensor, rows: Sequence[torch.Tensor] | torch.Tensor, pack: Pack) -> torch.Tensor:
        """From projected inputs, float32 ``[tokens, dim]``, to flows ``[tokens, mel_dim]``. ``rows``: the modulations
        of each request, or one tensor of all, in which each token then finds its own."""
        hidden = hidden + self.placed(hidden.to(self.precision.dtype), pack).float()
        residual = hidden.clone() if self._skip is not None else None
        for index, block in enumerate(self._blocks):
            hidden = block(hidden, self._vectors(rows, index, pack), pack)
        if self._skip is not None and residual is not None:
            hidden = self._skip(torch.cat((hidden, residual), -1).to(self.precision.dtype)).float()
        vectors = self._vectors(rows, len(self._blocks), pack)
        return self._out(vectors.each(lambda part, m: self._ops.norm(part, m[0], m[1], torch.float32), hidden))

    def _stacked(self, rows: list[torch.Tensor]) -> list[torch.Tensor] | torch.Tensor:
        """One launch for all requests of a step; on a CPU each is done by itself."""
        together = self._ops.looks_up or (self.precision.device.type == "cuda" and len(rows) > 1)
        return torch.stack(rows) if together else rows

    def _vectors(self, rows: Sequence[torch.Tensor] | torch.Tensor, index: int, pack: Pack) -> Vectors:
        part = slice(index * 6, index * 6 + 6)
        if isinstance(rows, torch.Tensor):
            return Vectors([(0, pack.tokens)], [Table(rows[:, part], pack.index, self._ops.looks_up)])
        return Vectors(pack.spans, [row[part] for row in rows])

    def _inputs(self, evaluation: Evaluation) -> list[torch.Tensor]:
        projected = evaluation.x @ self._from_noise
        inputs = [evaluation.prompt.conditional + projected]
        if evaluation.guided:
            inputs.append(evaluation.prompt.unconditional + projected)
        return inputs

    def _lay_out(self, evaluations: Sequence[Evaluation]) -> Pack:
        key = tuple((evaluation.prompt.frames, evaluation.guided) for evaluation in evaluations)
        if self._pack is None or self._pack[0] != key:
            frames, guided = zip(*key, strict=True)
            self._pack = key, lay_out(frames, guided, self._angles)
        return self._pack[1]


def shapes(config: Architecture, vocabulary_size: int) -> dict[str, tuple[int, ...]]:
    """Every tensor of the model, as upstream names it, and its shape."""
    dim, inner, wide = config.dim, config.inner_dim, config.ff_dim
    wanted = text_embedding.shapes(config, vocabulary_size) | modulation.shapes(config)
    wanted |= {
        "input_embed.proj.weight": (dim, 2 * config.mel_dim + config.text_dim),
        "input_embed.proj.bias": (dim,),
        "rotary_embed.inv_freq": (config.dim_head // 2,),
        "proj_out.weight": (config.mel_dim, dim),
        "proj_out.bias": (config.mel_dim,),
    }
    for index in (0, 2):
        wanted[f"input_embed.conv_pos_embed.conv1d.{index}.weight"] = (dim, dim // GROUPS, KERNEL)
        wanted[f"input_embed.conv_pos_embed.conv1d.{index}.bias"] = (dim,)
    if config.long_skip:
        wanted["long_skip_connection.weight"] = (dim, 2 * dim)
    for index in range(config.depth):
        block = f"transformer_blocks.{index}."
        for letter in "qkv":
            wanted[block + f"attn.to_{letter}.weight"] = (inner, dim)
            wanted[block + f"attn.to_{letter}.bias"] = (inner,)
        if config.qk_norm:
            wanted[block + "attn.q_norm.weight"] = wanted[block + "attn.k_norm.weight"] = (config.dim_head,)
        wanted |= {
            block + "attn.to_out.0.weight": (dim, inner),
            block + "attn.to_out.0.bias": (dim,),
            block + "ff.ff.0.0.weight": (wide, dim),
            block + "ff.ff.0.0.bias": (wide,),
            block + "ff.ff.2.weight": (dim, wide),
            block + "ff.ff.2.bias": (dim,),
        }
    return wanted


def _guide(out: torch.Tensor, evaluation: Evaluation) -> torch.Tensor:
    if not evaluation.guided:
        return out
    with_prompt, without = out.chunk(2)
    return with_prompt + (with_prompt - without) * evaluation.cfg_strength
