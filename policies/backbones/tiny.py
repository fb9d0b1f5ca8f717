"""A vision-language model small enough to train on two CPU cores.

Three choices make it learn in minutes: the spatial resolution is kept (about 32 x 32
cells, read out as points, never pooled away), the words modulate the vision from the first
layer on, and an auxiliary loss ties the words to the point in the image they name.

    words ──▶ text readouts ──┬──────────────┬───────────────┐
                              ▼ FiLM         ▼ query         ▼
    image ──▶ stem ──▶ residual convolutions ──▶ attention map per label ──▶ (u, v) + features
                                  └──▶ spatial softmax ──▶ keypoints         │
    state ───────────────────────────────────────┴───────────────────────────┴──▶ transformer
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.backbones.config import TinyConfig
from policies.backbones.interface import Backbone, Context, ContextShape
from policies.backbones.tokenizer import hash_words
from policies.transformer import Block, waves
from vla.embodiment import Camera, Embodiment
from vla.errors import ConfigError, choose

_TEXT_WIDTH = 64
_WAVES = 4  # per coordinate


class TinyBackbone(Backbone):
    """See the module's docstring.

    Raises:
        ConfigError: when the embodiment has no camera, or not the grounding camera.
    """

    readable = True

    def __init__(self, config: TinyConfig, embodiment: Embodiment, *, history: int):
        super().__init__()
        self.config = config
        self.dim = width = config.width
        self.shape = ContextShape(dim=width, state_dim=history * len(embodiment.state))
        self.cameras = tuple(embodiment.cameras)
        self.front = _grounding_camera(config, embodiment)
        self.text = TextReader(config)
        condition = self.text.dim
        self.eyes = nn.ModuleDict(
            {
                # only where points are grounded is the full resolution worth its time
                name: Eye(
                    config, camera, condition, config.grid // (1 if name == self.front else 2)
                )
                for name, camera in embodiment.cameras.items()
            }
        )
        self.pointer = Pointer(config, condition) if config.labels else None
        self.from_text = nn.Linear(condition, width)
        self.from_state = nn.Sequential(
            nn.Linear(len(embodiment.state) * (1 + 2 * _WAVES), width),
            nn.GELU(),
            nn.Linear(width, width),
        )
        kinds = len(self.cameras) + len(config.labels) + 3  # ..., state, text, summary
        self.place = nn.Parameter(torch.randn(kinds, width) * 0.02)
        self.age = nn.Parameter(torch.randn(history, 1, width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(width, config.attention_heads) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        waved, offsets = 1 + 2 * _WAVES, max(1, len(config.labels))
        self.reckon = nn.Sequential(
            nn.Linear((2 * len(config.labels) + len(embodiment.state)) * waved, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, 3 * offsets),
        )
        # A short way past attention: what is known reaches the head from the first step on.
        known = (3 * offsets * waved + (kinds - 2) * width) * history
        self.shortcut = nn.Sequential(
            nn.Linear(known + condition, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def parts(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.parts`."""
        return {"vision": [self.eyes], "language": [self.text]}

    def read(self, texts: list[str]) -> tuple[Tensor, ...]:
        """See `Backbone.read`."""
        return hash_words(texts, words=self.config.words, buckets=self.config.buckets)

    def encode(
        self, images: dict[str, Tensor], texts: list[str] | tuple[Tensor, ...], state: Tensor
    ) -> Context:
        """See `Backbone.encode`.

        Labels, of the newest step: (u, v) in [-1, 1] of each named point, (B, 2), and, as
        "NAME_offset", where it is from the tool, (B, 3) in the data's unit.
        """
        size, steps = state.shape[:2]
        ids, mask = texts if isinstance(texts, tuple) else self.read(texts)
        text = self.text(ids.to(state.device), mask.to(state.device))  # (B, C)
        repeated = text.repeat_interleave(steps, dim=0)  # (B * T, C)
        with_waves = _with_waves(state).flatten(0, 1)  # (B * T, ...)
        tokens, points = [], state.new_zeros(len(repeated), 0, 2)
        for name in self.cameras:
            features = self.eyes[name].look(images[name].flatten(0, 1), repeated)
            tokens.append(self.eyes[name].describe(features).unsqueeze(1))
            if name == self.front and self.pointer is not None:
                points, seen = self.pointer(features, repeated)
                tokens.append(seen)
        tokens.append(self.from_state(with_waves).unsqueeze(1))
        offsets = self.reckon(torch.cat([_with_waves(points).flatten(1), with_waves], dim=-1))
        offsets = offsets.float()  # (B * T, labels * 3)
        per_step = torch.cat(tokens, dim=1) + self.place[:-2]  # (B * T, n, width)
        known = torch.cat([per_step.flatten(1), _with_waves(offsets)], dim=-1)
        known = known.unflatten(0, (size, steps)).flatten(1)
        direct = self.shortcut(torch.cat([known, text], dim=-1))
        per_step = (per_step.unflatten(0, (size, steps)) + self.age).flatten(1, 2)
        read = (self.from_text(text) + self.place[-2]).unsqueeze(1)
        summary = self.place[-1].expand(size, 1, -1)
        x = torch.cat([per_step, read, summary], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        pooled = x[:, -1] + direct
        x = torch.cat([x[:, :-1], pooled.unsqueeze(1)], dim=1)
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        point = points.unflatten(0, (size, steps))[:, -1]  # of the newest step
        offset = offsets.unflatten(0, (size, steps))[:, -1].unflatten(-1, (-1, 3))
        labels = {}
        for index, name in enumerate(self.config.labels):
            labels |= {name: point[:, index], f"{name}_offset": offset[:, index]}
        return Context(tokens=x, mask=mask, pooled=pooled, labels=labels, state=state)


class TextReader(nn.Module):
    """Words to one vector: hashed embeddings, neighbours mixed, then attention by readouts.

    Several learned readouts look for different things (say, what to grasp and where to put
    it); the vector is all of them side by side.
    """

    def __init__(self, config: TinyConfig, readouts: int = 4):
        super().__init__()
        self.config = config
        self.dim = readouts * _TEXT_WIDTH
        self.first = nn.Embedding(config.buckets, _TEXT_WIDTH)
        self.second = nn.Embedding(config.buckets, _TEXT_WIDTH)
        self.position = nn.Parameter(torch.randn(config.words, _TEXT_WIDTH) * 0.5)
        self.neighbours = nn.Conv1d(_TEXT_WIDTH, _TEXT_WIDTH, 3, padding=1)
        self.norm = nn.LayerNorm(_TEXT_WIDTH)
        self.key_value = nn.Linear(_TEXT_WIDTH, 2 * _TEXT_WIDTH)
        self.readouts = nn.Parameter(torch.randn(readouts, _TEXT_WIDTH))
        self.mix = nn.Sequential(nn.LayerNorm(self.dim), nn.Linear(self.dim, self.dim), nn.GELU())

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """What `hash_words` makes of B instructions to (B, dim)."""
        words = self.first(ids[..., 0]) + self.second(ids[..., 1])
        x = (words + self.position).masked_fill(~mask.unsqueeze(-1), 0.0)
        x = self.norm(x + F.gelu(self.neighbours(x.transpose(1, 2)).transpose(1, 2)))
        key, value = self.key_value(x).chunk(2, dim=-1)
        query = self.readouts.expand(len(ids), -1, -1)
        seen = F.scaled_dot_product_attention(
            query.to(key.dtype), key, value, attn_mask=mask.unsqueeze(1)
        )
        return self.mix(seen.flatten(1))


class Eye(nn.Module):
    """One camera: image and words to a feature map, and the map to a token of keypoints."""

    def __init__(self, config: TinyConfig, camera: Camera, condition: int, grid: int):
        super().__init__()
        channels = config.channels
        # cells of `stride` pixels, each seen with one pixel of its surroundings
        stride = max(1, round(min(camera.height, camera.width) / grid))
        self.stem = nn.Conv2d(3, channels, stride + 2, stride=stride, padding=1)
        dilations = [2 ** (i % 3) for i in range(config.blocks)]  # sees far without pooling
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=d, dilation=d) for d in dilations
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in dilations)
        self.film = nn.Linear(condition, 2 * channels * config.blocks)
        nn.init.normal_(self.film.weight, std=0.02)
        nn.init.zeros_(self.film.bias)
        self.to_maps = nn.Conv2d(channels, config.keypoints, 1)
        self.temperature = nn.Parameter(torch.ones(config.keypoints))
        self.describe_points = nn.Sequential(
            nn.Linear(config.keypoints * (2 + 4 * _WAVES), config.width),
            nn.GELU(),
            nn.Linear(config.width, config.width),
        )

    def look(self, image: Tensor, condition: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) and (B, C) to features (B, channels, rows, columns)."""
        pixels = image.permute(0, 3, 1, 2).float() / 127.5 - 1.0  # stays channels-last
        x = self.stem(pixels)
        films = self.film(condition).unflatten(1, (len(self.convolutions), 2, -1, 1, 1))
        for index, convolve in enumerate(self.convolutions):
            # per cell over the channels: as good here as GroupNorm, and far cheaper on a CPU
            normed = self.norms[index](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            scale, shift = films[:, index, 0], films[:, index, 1]
            x = x + convolve(F.relu(torch.addcmul(shift, normed, 1 + scale)))
        return x

    def describe(self, features: Tensor) -> Tensor:
        """Features to one token (B, width)."""
        with torch.autocast(features.device.type, enabled=False):
            maps = self.to_maps(F.relu(features.float()))
            points = expected_points(maps * self.temperature.view(-1, 1, 1))
        return self.describe_points(_with_waves(points).flatten(1))


class Pointer(nn.Module):
    """Finds what the words name: one attention map over the image per label.

    Keys and values would be linear in the features; their matrices are folded into the query
    and into `describe`, so that nothing wider than the features is made per cell.
    """

    def __init__(self, config: TinyConfig, condition: int):
        super().__init__()
        self.labels = len(config.labels)
        self.query = nn.Linear(condition, self.labels * config.channels)
        self.describe = nn.Sequential(
            nn.Linear(config.channels + 2 + 4 * _WAVES, config.width),
            nn.GELU(),
            nn.Linear(config.width, config.width),
        )

    def forward(self, features: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, labels, 2) as (u, v), and tokens (B, labels, width)."""
        with torch.autocast(features.device.type, enabled=False):
            features = F.relu(features.float())
            query = self.query(condition.float()).unflatten(1, (self.labels, -1))
            maps = torch.einsum("blc,bchw->blhw", query, features)
            weights = maps.flatten(2).softmax(dim=-1)
            points = weights @ _cells(maps)
            seen = weights @ features.flatten(2).transpose(1, 2)
            described = torch.cat([seen, _with_waves(points)], dim=-1)
        return points, self.describe(described)


def expected_points(maps: Tensor) -> Tensor:
    """Spatial softmax (Levine et al., 2016): maps (B, K, rows, columns) to (B, K, 2).

    Points are (u, v): right and down, from -1 to 1 at the borders of the image.
    """
    return maps.flatten(2).softmax(dim=-1) @ _cells(maps)


def _cells(maps: Tensor) -> Tensor:
    """Centres (rows * columns, 2) of the cells of `maps` (..., rows, columns) as (u, v)."""
    rows, columns = maps.shape[-2:]
    v = (torch.arange(rows, device=maps.device) * 2 + 1) / rows - 1
    u = (torch.arange(columns, device=maps.device) * 2 + 1) / columns - 1
    return torch.stack([u.repeat(rows), v.repeat_interleave(columns)], dim=-1)


def _with_waves(points: Tensor) -> Tensor:
    """Append sines and cosines: (..., D) to (..., D * (1 + 2 * _WAVES))."""
    return torch.cat([points, waves(points, _WAVES).flatten(-2)], dim=-1)


def _grounding_camera(config: TinyConfig, embodiment: Embodiment) -> str:
    """Name of the camera whose image the labels are points of."""
    cameras = embodiment.cameras
    if not cameras:
        raise ConfigError(
            f"Embodiment {embodiment.name!r} has no camera; the tiny backbone needs at least one."
        )
    if config.grounding_camera:
        choose("camera", config.grounding_camera, cameras)
        return config.grounding_camera
    return "front" if "front" in cameras else next(iter(cameras))
