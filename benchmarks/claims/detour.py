"""A point on its way round a wall, on the left or on the right: a world in two numbers.

The point goes from x = -1 to x = 1. A wall lies across the way, |x| < 0.35 and |y| < 0.3. Demos
leave the middle line at x = -0.7; who is still near it is shown both ways, each half of the time.
An action is where to be after each of the next ticks; the point gets there at a limited speed and
not exactly. All functions work on N episodes at once.
"""

import torch
from torch import Tensor

ROWS, STEP, REACH, NOISE = 8, 0.08, 0.13, 0.012
WALL, UNDECIDED, ASIDE, TICKS = (0.35, 0.3), 0.12, 0.55, 40


def find_way(x: Tensor, sides: Tensor) -> Tensor:
    """Where the demonstrated way of each side (-1 or 1) passes at x."""
    rise = ((x + 0.75) / 0.4).clamp(0, 1)
    fall = ((0.75 - x) / 0.4).clamp(0, 1)
    return sides * ASIDE * torch.minimum(rise, fall)


def show(places: Tensor, sides: Tensor) -> Tensor:
    """Demonstrated rows (N, ROWS, 2) from places (N, 2): back to the way, and along it."""
    steps = torch.arange(1, ROWS + 1)
    x = places[:, :1] + STEP * steps
    off = places[:, 1:] - find_way(places[:, :1], sides[:, None])
    return torch.stack([x, find_way(x, sides[:, None]) + off * 0.6**steps], dim=-1)


def draw_demos(seed: int, size: int = 64):
    """Endless batches: places (size, 2) and rows (size, ROWS, 2)."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        sides = torch.randint(2, (size,), generator=generator) * 2.0 - 1
        x = torch.rand(size, generator=generator) * 2.1 - 1.1
        y = find_way(x, sides) + 0.06 * torch.randn(size, generator=generator)
        decided = y.abs() > UNDECIDED
        sides = torch.where(decided, y.sign(), sides)
        places = torch.stack([x, y], dim=1)
        yield places, show(places, sides)


def start(count: int, seed: int) -> tuple[Tensor, torch.Generator]:
    """Places (count, 2) at the beginning, and the episodes' own noise."""
    generator = torch.Generator().manual_seed(seed)
    x = -1 + 0.1 * torch.rand(count, generator=generator)
    return torch.stack([x, 0.05 * torch.randn(count, generator=generator)], dim=1), generator


def move(places: Tensor, commands: Tensor, generator: torch.Generator) -> Tensor:
    """One tick towards the commands (N, 2)."""
    way = commands - places
    length = way.norm(dim=1, keepdim=True).clamp(min=1e-9)
    noise = NOISE * torch.randn(places.shape, generator=generator)
    return places + way * (REACH / length).clamp(max=1) + noise


def hit(places: Tensor) -> Tensor:
    """Who is in the wall."""
    return (places[:, 0].abs() < WALL[0]) & (places[:, 1].abs() < WALL[1])


def arrive(places: Tensor) -> Tensor:
    """Who is behind it."""
    return places[:, 0] > 0.8
