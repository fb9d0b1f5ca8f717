"""Are the words needed, and are they listened to?

A picture shows a red and a blue square at random places; the plan is where the named one is. Only
the words tell which is meant. Policies are trained with the words as given, with blank ones, and
with words shuffled over the batch (the control); those trained on given words are then tried with
the other colour named (the permutation probe): what is asked for changes, the picture does not.
A plan succeeds within a sixth of the picture's width; chance is 0.5 for who ignores the words.
"""

import torch
from study import Study, fit, pool_rates

from policies.backbones.config import TinyConfig
from policies.backbones.interface import Context
from policies.heads.config import RegressionConfig
from vla.embodiment import Axis, Camera, Embodiment

SIZE, SIDE, NEAR = 32, 5, 1 / 3  # pixels; NEAR in units of half the picture
WORDS = ("take the red one", "take the blue one")
BODY = Embodiment(
    name="point",
    state=(Axis(name="x", unit="m", low=-1, high=1),),
    action=tuple(Axis(name=name, unit="m", low=-1, high=1) for name in ("u", "v")),
    cameras={"front": Camera(height=SIZE, width=SIZE)},
    hz=10.0,
)


def draw_scenes(count: int, generator: torch.Generator):
    """Pictures (B, 1, S, S, 3), both places (B, 2, 2) in [-1, 1], and which is meant (B,)."""
    places = torch.randint(SIZE - SIDE, (count, 2, 2), generator=generator)
    close = (places[:, 0] - places[:, 1]).abs().amax(dim=1) < 2 * SIDE
    places[close, 1] = (places[close, 0] + SIZE // 2) % (SIZE - SIDE)
    pictures = torch.full((count, 1, SIZE, SIZE, 3), 128, dtype=torch.uint8)
    for colour, channel in enumerate((0, 2)):
        for index in range(count):
            u, v = places[index, colour].tolist()
            pictures[index, 0, v : v + SIDE, u : u + SIDE] = 0
            pictures[index, 0, v : v + SIDE, u : u + SIDE, channel] = 255
    centres = (places + SIDE / 2) / (SIZE / 2) - 1
    return pictures, centres, torch.randint(2, (count,), generator=generator)


def speak(meant: torch.Tensor, how: str, generator: torch.Generator) -> list[str]:
    if how == "blank":
        return [""] * len(meant)
    if how == "shuffled":
        meant = meant[torch.randperm(len(meant), generator=generator)]
    return [WORDS[index] for index in meant.tolist()]


def train(how: str, seed: int, study: Study):
    torch.manual_seed(seed)
    backbone = TinyConfig(
        width=64, layers=1, attention_heads=2, channels=16, blocks=3, grid=32, keypoints=8,
        labels=["target"],
    ).build(BODY, history=1)  # fmt: skip
    head = RegressionConfig(width=64).build(shape=backbone.shape, action_dim=2, horizon=1)

    def batches():
        generator = torch.Generator().manual_seed(seed)
        while True:
            pictures, centres, meant = draw_scenes(64, generator)
            yield pictures, speak(meant, how, generator), centres[torch.arange(64), meant]

    def loss(batch, generator):
        pictures, texts, targets = batch
        context = look(backbone, pictures, texts)
        rows = targets.unsqueeze(1)
        return head.loss(context, rows, torch.ones_like(rows), generator=generator).mean()

    steps = 10 if study.quick else 400
    fit(torch.nn.ModuleList([backbone, head]), batches(), loss, steps=steps, rate=2e-3, seed=seed)
    return backbone, head


def look(backbone, pictures: torch.Tensor, texts: list[str]) -> Context:
    return backbone.encode({"front": pictures}, texts, torch.zeros(len(texts), 1, 1))


def try_it(parts, how: str, asked: str, seed: int) -> dict:
    """Success at what the scene meant, when `asked` says what is spoken."""
    backbone, head = parts
    generator = torch.Generator().manual_seed(1_000_000 + seed)
    pictures, centres, meant = draw_scenes(200, generator)
    spoken = 1 - meant if asked == "other" else meant
    texts = speak(spoken, how, generator)
    with torch.no_grad():
        plans = head.sample(look(backbone, pictures, texts), None, torch.zeros(200, 1, 2))[:, 0]
    every = torch.arange(200)
    good = (plans - centres[every, meant]).norm(dim=1) < NEAR
    followed = (plans - centres[every, spoken]).norm(dim=1) < NEAR
    return {
        "trained": how, "asked": asked, "seed": seed, "n": 200, "successes": int(good.sum()),
        "followed": int(followed.sum()),
        "verdicts": "".join("1" if one else "0" for one in good.tolist()),
    }  # fmt: skip


def main() -> None:
    study = Study.begin(
        "language",
        claim="Where only words tell what is meant, success needs them; naming another thing "
        "leads to that thing.",
        rule="for every seed: given words at least 0.8, blank and shuffled ones at most 0.6; "
        "with the other thing named at most 0.1 at the first and at least 0.8 at the named one.",
    )
    outcomes = []
    for seed in study.seeds:
        for how in ("given", "blank", "shuffled"):
            parts = train(how, seed, study)
            outcomes.append(try_it(parts, how, "same", seed))
            if how == "given":
                outcomes.append(try_it(parts, how, "other", seed))
    figures = {
        how: pool_rates(outcomes, trained=how, asked="same")
        for how in ("given", "blank", "shuffled")
    }
    figures["other"] = pool_rates(outcomes, trained="given", asked="other")
    probe = [o for o in outcomes if o["asked"] == "other"]
    figures["other_followed"] = {
        "successes": sum(o["followed"] for o in probe), "n": sum(o["n"] for o in probe),
    }  # fmt: skip
    shares = {(o["trained"], o["asked"], o["seed"]): o["successes"] / o["n"] for o in outcomes}
    shown = all(
        shares["given", "same", s] >= 0.8
        and max(shares["blank", "same", s], shares["shuffled", "same", s]) <= 0.6
        and shares["given", "other", s] <= 0.1
        for s in study.seeds
    ) and all(o["followed"] / o["n"] >= 0.8 for o in probe)
    study.conclude(shown=shown, figures=figures, outcomes=outcomes)


if __name__ == "__main__":
    main()
