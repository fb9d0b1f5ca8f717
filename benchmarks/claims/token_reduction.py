"""How much of a picture must be read: success and time against tokens per picture (T19).

A picture of 8 x 8 cells shows a red and a blue disk over noise; the words name one, and the plan
is where it is. A small tower makes 64 tokens of the cells, and a reader of three layers reads
what is left of them: averaged over larger cells by the shipped `pool_cells` (trained on scales
drawn at random, arXiv 2405.17430), merged by similarity by the shipped `merge` (arXiv 2210.09461;
trained on all 64 tokens, merging only when acting), or drawn at random from the same trained
model, which is the control. Times are of the reader alone, one picture at a time.
"""

import time

import torch
from study import Study, compare, fit, judge, pool_rates
from torch import Tensor, nn

from policies.backbones.token_reduction import merge, pool_cells
from policies.transformer import Block

SIDE, WIDTH, NEAR = 8, 48, 0.25  # cells; NEAR in half pictures: one cell
KEEPS = (64, 16, 4, 1)
WAYS = ("pooled", "merged", "random")


def draw_scenes(count: int, generator: torch.Generator):
    """Cells (N, 64, 4), who is meant (N,), and where it is (N, 2) in [-1, 1]."""
    places = torch.rand(count, 2, 2, generator=generator) * 1.6 - 0.8  # red, blue
    axis = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    cells = torch.stack([columns, rows], dim=-1).view(1, 1, -1, 2)
    distance = (cells - places[:, :, None]).norm(dim=-1)  # (N, 2, 64)
    seen = torch.exp(-((distance / 0.2) ** 2)).transpose(1, 2)
    seen = seen + 0.1 * torch.randn(seen.shape, generator=generator)
    where = cells[0].expand(count, -1, -1)
    meant = torch.randint(2, (count,), generator=generator)
    return torch.cat([seen, where], dim=2), meant, places[torch.arange(count), meant]


class Reader(nn.Module):
    """Tower, reduction, language: as the backbones have it, small."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(4, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.words = nn.Embedding(2, WIDTH)
        self.layers = nn.ModuleList(Block(WIDTH, 4) for _ in range(3))
        self.point = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2))

    def read(self, tokens: Tensor, meant: Tensor) -> Tensor:
        """Where (N, 2)."""
        x = torch.cat([self.words(meant).unsqueeze(1), tokens], dim=1)
        for layer in self.layers:
            x = layer(x)
        return self.point(x[:, 0])


def keep(tokens: Tensor, way: str, count: int, generator: torch.Generator) -> Tensor:
    """What is left of the tower's tokens (N, 64, D)."""
    if way == "pooled":
        return pool_cells(tokens, (SIDE, SIDE), round(count**0.5))
    if way == "merged":
        return merge(tokens, count)
    chosen = torch.rand(tokens.shape[:2], generator=generator).argsort(dim=1)[:, :count]
    return tokens.gather(1, chosen[..., None].expand(-1, -1, WIDTH))


def train(seed: int, *, scales: tuple[int, ...], study: Study) -> Reader:
    torch.manual_seed(seed)
    reader, dice = Reader(), torch.Generator().manual_seed(seed)

    def batches():
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield draw_scenes(64, generator)

    def loss(batch, generator):
        cells, meant, wanted = batch
        count = scales[int(torch.randint(len(scales), (), generator=dice))]
        tokens = keep(reader.tower(cells), "pooled", count, generator)
        return (reader.read(tokens, meant) - wanted).abs().mean()

    steps = 5 if study.quick else 500
    fit(reader, batches(), loss, steps=steps, rate=3e-3, seed=seed)
    return reader


@torch.no_grad()
def measure(reader: Reader, count: int, *, repeats: int) -> float:
    """Median milliseconds of reading so many tokens."""
    tokens, meant = torch.randn(1, count, WIDTH), torch.zeros(1, dtype=torch.int64)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        reader.read(tokens, meant)
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times)[repeats // 2]


@torch.no_grad()
def try_it(reader: Reader, way: str, count: int, seed: int) -> dict:
    generator = torch.Generator().manual_seed(1_000_000 + seed)
    cells, meant, wanted = draw_scenes(300, generator)
    tokens = keep(reader.tower(cells), way, count, generator)
    good = (reader.read(tokens, meant) - wanted).norm(dim=1) < NEAR
    return {"way": way, "tokens": count, "seed": seed, **judge(good)}


def main() -> None:
    study = Study.begin(
        "token_reduction",
        claim="A quarter of the tokens keeps most of the success when they are pooled (trained "
        "for it) or merged (not trained), and not when they are dropped at random "
        "(arXiv 2405.17430, 2210.09461).",
        rule="at 16 of 64 tokens pooling and merging each succeed more often than random dropping, "
        "95 % interval of the paired difference above 0, and at least 0.8 times as often as with "
        "all 64 tokens pooled; reading 16 takes less time than reading 64 for every seed.",
    )
    outcomes, times = [], []
    for seed in study.seeds:
        scaled = train(seed, scales=KEEPS, study=study)
        whole = train(seed, scales=(64,), study=study)
        for count in KEEPS:
            times.append({"seed": seed, "tokens": count, "ms": measure(whole, count, repeats=101)})
            for way in WAYS:
                reader = scaled if way == "pooled" else whole
                outcomes.append(try_it(reader, way, count, seed))
    figures, gains = {}, {}
    for count in KEEPS:
        found = sorted(one["ms"] for one in times if one["tokens"] == count)
        figures[f"{count}_tokens"] = {
            **{way: pool_rates(outcomes, way=way, tokens=count) for way in WAYS},
            "reading": {"median_ms": round(found[len(found) // 2], 3)},
        }
        for way in WAYS[:2]:
            one, two = ({"way": name, "tokens": count} for name in (way, "random"))
            gains[way, count] = compare(outcomes, one, two)
            figures[f"{count}_tokens"][f"{way}_more_than_random"] = gains[way, count]
    full = figures["64_tokens"]["pooled"]["rate"]
    ms = {(one["seed"], one["tokens"]): one["ms"] for one in times}
    shown = all(
        gains[way, 16]["low"] > 0 and figures["16_tokens"][way]["rate"] >= 0.8 * full
        for way in WAYS[:2]
    ) and all(ms[seed, 16] < ms[seed, 64] for seed in study.seeds)
    study.conclude(shown=shown, figures=figures, outcomes=outcomes + times)


if __name__ == "__main__":
    main()
