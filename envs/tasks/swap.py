"""Template 15: two objects change places."""

from dataclasses import replace

import numpy as np

from envs.draft import Draft, Kind, draw_company, draw_word, draw_words, find_place
from envs.layout import COLOURS, PAD_HALF, Layout, Pad
from envs.splits import colours, shapes
from envs.suite import Settled, SuiteTask, furnish, rests
from envs.task import Assignment, SceneState


class Swap(SuiteTask):
    """Done when each of the two stands on the pad where the other one was, let go."""

    name = "swap"
    horizon = 380
    scenery = furnish(pads=2)
    templates = (
        "swap the {first} and the {second}",
        "exchange the {first} with the {second}",
        "let the {first} and the {second} trade places",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        first = Kind(
            colour=draw_word(rng, colours(self.split)), shape=draw_word(rng, shapes(self.split))
        )
        second, third = draw_company(rng, self.split, [first.words], 2)
        return Draft(
            kinds=[first, second, third],
            words={"first": first.name, "second": second.name},
            others={"first": first.name, "second": third.name},
            pairs=[first.words, second.words],
            named=(0, 1),
        )

    def settle(self, rng: np.random.Generator, layout: Layout, draft: Draft) -> Settled | None:
        """See SuiteTask; pads mark the two places, and a third place must be free."""
        first, second, _ = layout.things
        if max(abs(first.x - second.x), abs(first.y - second.y)) < 2 * PAD_HALF + 0.01:
            return None
        buffer = find_place(rng, list(layout.things), [])
        if buffer is None:
            return None
        pads = tuple(
            Pad(colour=colour, x=thing.x, y=thing.y)
            for colour, thing in zip(draw_words(rng, COLOURS, 2), (first, second), strict=True)
        )
        homes = ((second.x, second.y), (first.x, first.y))
        return replace(layout, pads=pads), (*homes, buffer)

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        homes = np.array(assignment.spots[:2])
        off = np.abs(state.things[[0, 1], :2] - homes).max()
        return bool(off < PAD_HALF) and all(rests(state, assignment, i) for i in (0, 1))
