"""Parts put into a trained network: no change at first, nothing else touched (T8).

PointVLA (arXiv 2503.07511) adds a branch to a frozen policy through layers that start at zero.
Its point clouds are not built here; what it rests on is, in three places: the words' scale and
shift in `prismatic` (FiLM), LoRA, and the last layer of a diffusion transformer. Checked for
each: the answer is bit for bit that of the network without it; training it leaves every other
weight's hash as it was; and at first only what starts at zero has a gradient, what lies behind it
from the second step on. The control starts it at random.
"""

import hashlib

import torch
from study import Study, wrap
from torch import Tensor, nn

from policies.backbones.interface import ContextShape
from policies.backbones.language_config import PrismaticConfig
from policies.heads.config_denoisers import DitConfig
from vla.embodiment import Axis, Camera, Embodiment

BODY = Embodiment(
    name="looker",
    state=(Axis(name="x", unit="m", low=-1, high=1),),
    action=(Axis(name="x", unit="m", low=-1, high=1),),
    cameras={"front": Camera(height=70, width=70)},
    hz=10.0,
)


def digest(tensors: dict[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(tensors[name].detach().numpy().tobytes())
    return found.hexdigest()


def try_words(seed: int, *, random: bool) -> dict:
    """FiLM in both towers; one layer, so it is what starts at zero and has the gradient."""
    torch.manual_seed(seed)
    plain = PrismaticConfig(state="none").build(BODY, history=1).eval()
    torch.manual_seed(seed)
    words = PrismaticConfig(state="none", film=True).build(BODY, history=1).eval()
    words.load_state_dict(plain.state_dict(), strict=False)
    added = {n: p for n, p in words.named_parameters() if ".films." in n}
    if random:
        torch.manual_seed(seed)
        for weight in added.values():
            nn.init.normal_(weight, std=0.02)
    generator = torch.Generator().manual_seed(seed)
    picture = torch.randint(0, 256, (2, 1, 70, 70, 3), generator=generator, dtype=torch.uint8)

    def answer(backbone):
        texts = ["take the red one", "stop"]
        return backbone.encode({"front": picture}, texts, torch.zeros(2, 1, 1)).tokens

    return check(words, lambda: answer(words), answer(plain), first=added, behind={})


def try_lora(seed: int, *, random: bool) -> dict:
    """x W + x A B: B starts at zero, so A has a gradient only once B has moved."""
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(seed)
    inner = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4))
    x = torch.randn(8, 16)
    want = inner(x)
    lora = LoraConfig(r=4, target_modules=["0", "2"], init_lora_weights=not random)
    network = inject_adapter_in_model(lora, inner)
    parts = dict(network.named_parameters())
    first = {n: p for n, p in parts.items() if "lora_B" in n}
    behind = {n: p for n, p in parts.items() if "lora_A" in n}
    return check(network, lambda: network(x), want, first=first, behind=behind)


def try_last_layer(seed: int, *, random: bool) -> dict:
    """The whole transformer is the branch here: it answers 0, and its last layer learns first."""
    torch.manual_seed(seed)
    config = DitConfig(width=32, layers=2, attention_heads=2, forget=0.0, guidance=1.0)
    network = config.build(shape=ContextShape(dim=8), action_dim=2, horizon=4).denoiser
    if random:
        nn.init.normal_(network.leave.weight, std=0.02)
    rows, context, time = torch.randn(3, 4, 2), wrap(torch.randn(3, 8)), torch.full((3,), 0.5)
    parts = dict(network.named_parameters())
    first = {n: p for n, p in parts.items() if n.startswith("leave.")}
    behind = {n: p for n, p in parts.items() if n not in first}
    return check(
        network, lambda: network(rows, time, context), torch.zeros(3, 4, 2),
        first=first, behind=behind,
    )  # fmt: skip


def check(network: nn.Module, answer, want: Tensor, *, first: dict, behind: dict) -> dict:
    """Two steps of training of the added parts alone."""
    added = first | behind
    frozen = {n: p for n, p in network.named_parameters() if n not in added}
    for weight in frozen.values():
        weight.requires_grad_(False)
    before = digest(frozen)
    optimizer = torch.optim.SGD(added.values(), lr=0.05)
    found: dict = {"difference": float((answer() - want).abs().max().detach())}
    for step in (1, 2):
        optimizer.zero_grad()
        (answer() - want.detach() - 1).square().mean().backward()
        for name, group in (("first", first), ("behind", behind)):
            sizes = [float(p.grad.abs().max()) for p in group.values() if p.grad is not None]
            found[f"gradient_{name}_{step}"] = max(sizes, default=0.0)
        optimizer.step()
    found["frozen_kept"] = before == digest(frozen)
    found["moved"] = float((answer() - want).abs().max().detach())
    return found


TRIALS = {"words": try_words, "lora": try_lora, "last_layer": try_last_layer}


def main() -> None:
    study = Study.begin(
        "zero_start",
        claim="A branch that starts at zero changes nothing at first, is trained without "
        "touching the rest, and learns from its last layer backwards (PointVLA, 2503.07511).",
        rule="for every part and seed: difference exactly 0 at first and above 0 behind two steps; "
        "the frozen weights' hash stays; at the first step gradients only where it starts at "
        "zero, at the second behind it, too; started at random the first difference is above 0.",
    )
    outcomes = []
    for seed in study.seeds:
        for name, trial in TRIALS.items():
            for random in (False, True):
                outcomes.append({"part": name, "random": random, "seed": seed}
                                | trial(seed, random=random))  # fmt: skip
    zero = [one for one in outcomes if not one["random"]]
    control = [one for one in outcomes if one["random"]]
    shown = all(
        one["difference"] == 0 < one["moved"] and one["frozen_kept"]
        and one["gradient_behind_1"] == 0 < one["gradient_first_1"]
        and (one["gradient_behind_2"] > 0 or one["part"] == "words")
        for one in zero
    ) and all(one["difference"] > 0 for one in control)  # fmt: skip
    figures = {}
    for name in TRIALS:
        for what, group in (("from_zero", zero), ("from_random", control)):
            sizes = [one["difference"] for one in group if one["part"] == name]
            figures[f"{name}_{what}"] = {"largest_first_difference": float(f"{max(sizes):.2g}")}
    study.conclude(shown=shown, figures=figures, outcomes=outcomes)


if __name__ == "__main__":
    main()
