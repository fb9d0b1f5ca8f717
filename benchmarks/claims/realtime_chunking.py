"""Plans that come late: what real-time chunking saves, in a world of two numbers (T17).

A point goes round a wall on either side (`detour.py`). A flow policy plans 8 rows; a new plan is
asked for every 4 ticks and comes d ticks later, while the point goes on with the old one. Four
ways to join them: the newest plan as it is; guided real-time chunking (arXiv 2506.07339; rows
that will be over are committed, the others wanted); trained real-time chunking (arXiv 2512.05964;
a second policy was given the first rows in training); and ACT's mean of all plans, asked for in
every tick, which is the control. All ways fly the same starts with the same noise per seed.
The seam's jump is the distance between the commands before and at a new plan's first use, less
the way the point goes in a tick.
"""

import torch
from detour import ROWS, STEP, TICKS, arrive, draw_demos, hit, move, start
from study import Study, compare, fit, judge, pool_rates, wrap

from policies.backbones.interface import ContextShape
from policies.heads.config import FlowConfig

EVERY, DELAYS, ENSEMBLE_DECAY = 4, (0, 2, 4), 0.01
UNIT = 0.3  # of the policy's rows
WAYS = ("newest", "guided", "trained", "mean")


def train(seed: int, *, delay: int, study: Study):
    torch.manual_seed(seed)
    config = FlowConfig(width=48, layers=2, attention_heads=2, draws=2, delay=delay, steps=5)
    head = config.build(shape=ContextShape(dim=2), action_dim=2, horizon=ROWS)

    def loss(batch, generator):
        rows = (batch[1] - batch[0][:, None]) / UNIT  # relative, as with `relative_actions`
        return head.loss(wrap(batch[0]), rows, torch.ones_like(rows), generator=generator).mean()

    fit(head, draw_demos(seed), loss, steps=5 if study.quick else 500, rate=3e-3, seed=seed)
    return head


def plan(head, places, left, delay: int, way: str, generator):
    """Rows (N, 8, 2) from here on; `left` are those of the old plan from here on, or None."""
    noise = torch.randn(len(places), ROWS, 2, generator=generator)
    pending = tentative = None
    if left is not None and way in ("guided", "trained"):
        known = (left - places[:, None]) / UNIT
        pending = known[:, :delay] if delay else None
        if way == "guided" and known.shape[1] > delay:
            tentative = known[:, delay:]
    with torch.no_grad():
        rows = head.sample(wrap(places), pending, noise, tentative=tentative)
    return UNIT * rows + places[:, None]


def fly(head, way: str, delay: int, seed: int, count: int) -> dict:
    """All episodes at once. Plans are kept with the tick of their first row."""
    places, weather = start(count, 1_000_000 + seed)
    dice = torch.Generator().manual_seed(seed)
    plans: list[tuple[int, torch.Tensor]] = []
    waiting: list[tuple[int, int, torch.Tensor]] = []  # when it comes, its first tick, its rows
    dead = torch.zeros(count, dtype=torch.bool)
    done, last, jumps, inside = dead.clone(), None, [], []
    for tick in range(TICKS):
        if tick % (1 if way == "mean" else EVERY) == 0:
            left = None
            if plans:
                begun, rows = plans[-1]
                left = rows[:, tick - begun :]
            first = not plans and not waiting  # the point waits for its first plan
            # a plan made now is used from tick + delay on
            rows = plan(head, places, left, delay, way, dice)
            waiting.append((tick if first else tick + delay, tick, rows))
        fresh = [one for one in waiting if one[0] == tick]
        waiting = [one for one in waiting if one[0] > tick]
        plans += [(begun, rows) for _, begun, rows in fresh]
        command = choose(plans, tick, way)
        if last is not None:
            jump = ((command - last).norm(dim=1) - STEP).clamp(min=0)
            running = ~(dead | done)
            (jumps if fresh else inside).append(jump[running])
        last = command
        moved = move(places, command, weather)
        places = torch.where((dead | done)[:, None], places, moved)
        dead |= hit(places) & ~done
        done |= arrive(places) & ~dead
    return {
        "way": way, "delay": delay, "seed": seed,
        "seam_jump": float(torch.cat(jumps).mean()),
        "inside_jump": float(torch.cat(inside).mean()) if inside else 0.0,
        **judge(done),
    }  # fmt: skip


def choose(plans: list[tuple[int, torch.Tensor]], tick: int, way: str) -> torch.Tensor:
    """The command (N, 2) of this tick; the last row stays in force behind a plan's end."""
    begun, rows = plans[-1]
    newest = rows[:, min(tick - begun, ROWS - 1)]
    if way != "mean":
        return newest
    reach = [rows[:, tick - begun] for begun, rows in plans[-ROWS:] if tick - begun < ROWS]
    if len(reach) < 2:
        return newest
    stacked = torch.stack(reach)  # oldest first
    weights = torch.exp(-ENSEMBLE_DECAY * torch.arange(len(reach)))
    return (weights[:, None, None] * stacked).sum(0) / weights.sum()


def main() -> None:
    study = Study.begin(
        "realtime_chunking",
        claim="With late plans real-time chunking jumps less from plan to plan and succeeds at "
        "least as often as taking the newest plan; without delay it costs nothing "
        "(arXiv 2506.07339, 2512.05964).",
        rule="for the guided and for the trained kind: at delays of 2 and 4 ticks the mean jump "
        "at the seam is below that of the newest plan for every seed, and success over all seeds "
        "is not lower; at delay 0 the guided kind's success "
        "is at most 2 points lower. The mean of all plans is only reported.",
    )
    count, outcomes = 20 if study.quick else 150, []
    for seed in study.seeds:
        heads = {False: train(seed, delay=0, study=study)}
        heads[True] = train(seed, delay=max(DELAYS), study=study)
        for delay in DELAYS:
            for way in WAYS:
                outcomes.append(fly(heads[way == "trained"], way, delay, seed, count))
    jumps = {(o["way"], o["delay"], o["seed"]): o["seam_jump"] for o in outcomes}
    figures, gains = {}, {}
    for delay in DELAYS:
        for way in WAYS:
            found = [jumps[way, delay, seed] for seed in study.seeds]
            figures[f"delay_{delay}_{way}"] = {
                "success": pool_rates(outcomes, way=way, delay=delay),
                "seam": {"jump": round(sum(found) / len(found), 4)},
            }
            if way != "newest":
                gains[way, delay] = compare(
                    outcomes, {"way": way, "delay": delay}, {"way": "newest", "delay": delay}
                )
                figures[f"delay_{delay}_{way}"]["more_than_newest"] = gains[way, delay]
    smooth = all(
        jumps[way, delay, seed] < jumps["newest", delay, seed]
        for way in ("guided", "trained") for delay in (2, 4) for seed in study.seeds
    )  # fmt: skip
    good = all(
        gains[way, delay]["difference"] >= 0 for way in ("guided", "trained") for delay in (2, 4)
    )
    free = gains["guided", 0]["difference"] >= -0.02
    study.conclude(shown=smooth and good and free, figures=figures, outcomes=outcomes)


if __name__ == "__main__":
    main()
