"""Pictures, words and state in one sequence, read by a decoder-only language model.

    pictures ──▶ tower ──▶ projector ──┐
    instruction ──▶ prompt ──▶ ids ────┼──▶ [words | pictures | words | state] ──▶ decoder
    state ──▶ linear, or in the prompt ┘                  prefix              ▲
                                              readouts ───────────────────────┘

The families differ in their tower, their prompt and where the pictures stand: see `Parts`.
Every row of a batch is laid out alike, so padding may stand in the middle; positions count
real tokens only and nobody sees padding.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from policies.backbones.decoder import DecoderLanguage, Layers, describe, follow, read, see_blocks
from policies.backbones.interface import (
    Backbone,
    Context,
    ContextShape,
    Prefix,
    Words,
    Written,
)
from policies.backbones.language_config import LanguageBackboneConfig
from policies.backbones.parts import Parts, keep_layers, make_state_token
from policies.backbones.pixels import fit
from policies.backbones.pooling import pool
from policies.backbones.prompt import Prompt
from policies.backbones.sequence import Piece, Sequence, join
from vla.embodiment import Embodiment
from vla.errors import ConfigError, EmbodimentMismatch, choose


class LanguageBackbone(Backbone):
    """See the module's docstring.

    Args:
        config: what of the model is kept and trained, and how it is asked.
        parts: the model.
        embodiment: whose cameras and state axes are seen.
        history: observation steps T.
        readouts: how many tokens R stand behind the prefix for the head.

    Raises:
        ConfigError: for a camera the embodiment lacks, or more layers than there are.
    """

    def __init__(
        self,
        config: LanguageBackboneConfig,
        parts: Parts,
        embodiment: Embodiment,
        *,
        history: int,
        readouts: int,
    ):
        super().__init__()
        self.config = config
        self.cameras = choose_cameras(config, embodiment)
        self.tower, self.decoder, self.output = parts.tower, parts.decoder, parts.output
        keep_layers(self.decoder, config.layers, type(config).__name__)
        template = config.prompt or (parts.stated if config.state == "text" else parts.prompt)
        self.tells_state = config.state == "text"
        self._prompt = Prompt(template, parts.tokenizer, bucket=config.bucket, lower=config.lower)
        for name, text in zip(("_opening", "_closing"), parts.around, strict=True):
            ids = torch.tensor(parts.tokenizer(text, add_special_tokens=False).input_ids)
            self.register_buffer(name, ids.long(), persistent=False)
        self.planar = parts.planar
        geometry = describe(self.decoder)
        self.dim, entries = geometry.width, history * len(embodiment.state)
        self.shape = ContextShape(dim=self.dim, state_dim=entries, language=geometry)
        self.count_readouts = readouts
        self._readouts = None
        if readouts and config.readout == "learned":
            self._readouts = nn.Parameter(torch.randn(readouts, self.dim) * 0.02)
        self._state_token = make_state_token(config.state, entries, self.dim)
        # a label is one image point (u, v)
        self._labels = nn.ModuleDict({name: nn.Linear(self.dim, 2) for name in config.labels})
        for part, trained in self._parts():
            part.requires_grad_(trained)

    @property
    def language(self) -> DecoderLanguage:
        """The language model, to go on behind a prefix."""
        output = self.output or self.decoder.get_input_embeddings()
        return DecoderLanguage(self.decoder, output.weight, self._prompt.tokenizer)

    def parts(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.parts`."""
        named = {
            "vision": [self.tower.vision],
            "projector": [self.tower.projector],
            "language": [self.decoder],
        }
        return named if self.output is None else named | {"vocabulary": [self.output]}

    def train(self, mode: bool = True) -> "LanguageBackbone":
        """As usual, but frozen parts keep their dropout off."""
        super().train(mode)
        for part, trained in self._parts():
            part.train(mode and trained)
        return self

    def write(self, texts: list[str], state: Tensor | None) -> tuple[Words, ...]:
        """See `Backbone.write`: what stands before the pictures, and what behind them.

        Raises:
            ShapeError: when an instruction contains a special token.
        """
        return self._prompt.write(texts, state if self.tells_state else None)

    def encode(self, images: dict[str, Tensor], texts: Written, state: Tensor) -> Context:
        """See `Backbone.encode`.

        Raises:
            EmbodimentMismatch: when a camera is missing.
            ShapeError: when an instruction contains a special token.
        """
        laid = join(self._lay_out(images, texts, state), causal=self.config.attention == "causal")
        hidden, layers = self._read(laid)
        count = laid.mask.shape[1]
        tokens = hidden[:, :count]
        pooled = pool(tokens, laid.mask, self.config.pool)
        return Context(
            tokens=tokens,
            mask=laid.mask,
            pooled=pooled,
            labels={name: layer(pooled) for name, layer in self._labels.items()},
            state=state,
            readouts=hidden[:, count:] if self.count_readouts else None,
            prefix=Prefix(
                layers=tuple((key[:, :, :count], value[:, :, :count]) for key, value in layers),
                mask=laid.mask,
                positions=laid.positions,
            ),
            language=self.language,
        )

    def _lay_out(self, images: dict[str, Tensor], texts: Written, state: Tensor) -> list[Piece]:
        """The pieces of the prefix, in order."""
        size, device = len(state), state.device
        written = self.write(texts, state) if isinstance(texts, list) else texts
        before, after = (self._embed(words, device) for words in written)
        weight = after.mask[..., None]
        words = (after.tokens * weight).sum(1) / weight.sum(1)  # (B, D)
        pixels = self._gather(images)  # (B, F, 3, size, size)
        frames = pixels.shape[1]
        seen = [
            part.unflatten(0, (size, frames))
            for part in self.tower(pixels.flatten(0, 1), words.repeat_interleave(frames, dim=0))
        ]
        opening, closing = (self._repeat(ids, size) for ids in (self._opening, self._closing))
        pieces = [before]
        for index in range(frames):
            tokens, *deep = (part[:, index] for part in seen)
            real = torch.ones(tokens.shape[:2], dtype=torch.bool, device=device)
            side = math.isqrt(tokens.shape[1])
            grid = (side, side) if self.planar else None
            picture = Piece(tokens=tokens, mask=real, grid=grid, deep=tuple(deep))
            pieces += [opening, picture, closing]
        if self._state_token is None:
            return [*pieces, after]
        token = self._state_token(state.flatten(1))[:, None]  # (B, 1, D)
        real = torch.ones(size, 1, dtype=torch.bool, device=device)
        if self.config.attention == "prefix":  # pi0: not seen by pictures and words
            return [*pieces, after, Piece(tokens=token, mask=real, block=1)]
        return [*pieces, Piece(tokens=token, mask=real), after]  # OFT: right behind the pictures

    def _read(self, laid: Sequence) -> tuple[Tensor, Layers]:
        """Hidden states float32 (B, N + R, D), the readouts' last; keys and values of all."""
        size = len(laid.mask)
        tokens, mask, blocks, extra = laid.tokens, laid.mask, laid.blocks, self.count_readouts
        ahead = self.config.readout == "ahead" and extra > 0
        extra += ahead  # the end token
        positions = laid.positions if laid.axes is None else laid.axes
        if extra:
            tokens = torch.cat([tokens, self._make_readouts(size)], dim=1)
            mask = torch.cat([mask, mask.new_ones(size, extra)], dim=1)
            block = blocks.max() + (not ahead)  # by then the prefix sees them, too
            blocks = torch.cat([blocks, block.expand(extra)])
            behind = follow(laid.positions, laid.mask, extra)
            behind = behind.expand(*positions.shape[:-1], extra)
            positions = torch.cat([positions, behind], dim=-1)
        more: dict[str, Any] = {}
        if laid.deep:
            # Everywhere a picture is not, nothing is added.
            more["visual_pos_masks"] = torch.ones_like(mask)
            more["deepstack_visual_embeds"] = [
                nn.functional.pad(layer, (0, 0, 0, extra)).flatten(0, 1) for layer in laid.deep
            ]
        dtype = self.decoder.get_input_embeddings().weight.dtype
        visible = see_blocks(blocks.expand(size, -1), mask)
        hidden, layers = read(self.decoder, tokens.to(dtype), visible, positions, **more)
        if ahead:  # what tells the first readout is the last word, then the readouts themselves
            count = laid.mask.shape[1]
            steps = torch.arange(count, device=mask.device)
            last = torch.where(laid.mask, steps, -1).amax(dim=1)
            first = hidden[torch.arange(size, device=mask.device), last].unsqueeze(1)
            hidden = torch.cat([hidden[:, :count], first, hidden[:, count:-2]], dim=1)
        return hidden.float(), layers

    def _make_readouts(self, size: int) -> Tensor:
        """What the readout tokens are before they have read, (B, R, D)."""
        weight = self.decoder.get_input_embeddings().weight
        if self._readouts is not None:
            return self._readouts.expand(size, -1, -1)
        zero = weight.new_zeros(size, self.count_readouts, self.dim)
        if self.config.readout == "zero":
            return zero
        end = self._prompt.tokenizer.eos_token_id
        ends = weight.new_full((size, self.count_readouts), end).long()
        if self.config.readout == "ahead":
            return torch.cat([zero, self.language.embed(ends[:, :1])], dim=1)
        return self.language.embed(ends)

    def _gather(self, images: dict[str, Tensor]) -> Tensor:
        """All pictures float32 (B, F, 3, size, size): by camera, each oldest first."""
        missing = [name for name in self.cameras if name not in images]
        if missing:
            raise EmbodimentMismatch(
                f"Camera {missing[0]!r} is missing; the backbone sees {self.cameras}, "
                f"offered are {sorted(images)}."
            )
        fitted = [
            fit(images[name].flatten(0, 1), self.tower.size, self.config.fit).unflatten(
                0, images[name].shape[:2]
            )
            for name in self.cameras
        ]
        return torch.cat(fitted, dim=1)

    def _embed(self, words: Words, device: torch.device) -> Piece:
        return Piece(tokens=self.language.embed(words.ids.to(device)), mask=words.mask.to(device))

    def _repeat(self, ids: Tensor, size: int) -> Piece:
        rows = ids.expand(size, -1)
        return Piece(tokens=self.language.embed(rows), mask=torch.ones_like(rows, dtype=torch.bool))

    def _parts(self) -> list[tuple[nn.Module, bool]]:
        """Each part and whether it is trained; a later one may lie within an earlier one."""
        parts = [
            (self.tower.vision, self.config.vision),
            (self.tower.projector, self.config.projector),
            (self.decoder, self.config.language),
            (self.output, self.config.language),
        ]
        return [(part, how == "full") for part, how in parts if part is not None]


def choose_cameras(config: LanguageBackboneConfig, embodiment: Embodiment) -> list[str]:
    """The cameras in the order in which they are seen.

    Raises:
        ConfigError: when there is none, or one that the embodiment does not have.
    """
    if not embodiment.cameras:
        owner = type(config).__name__
        raise ConfigError(f"{owner} needs a camera; {embodiment.name!r} has none.")
    for name in config.cameras:
        choose("camera", name, embodiment.cameras)
    return list(config.cameras) or sorted(embodiment.cameras)
