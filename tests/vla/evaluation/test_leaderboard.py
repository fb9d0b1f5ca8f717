import numpy as np
import pytest

from tests.vla.evaluation.fakes import PointConfig, SeekPolicy
from vla.errors import DataError
from vla.evaluation.evaluate import evaluate
from vla.evaluation.failures import WRONG_GRASP, count_failures, name_failure
from vla.evaluation.leaderboard import find_entries, rank_entries
from vla.evaluation.leaderboard_page import draw_radar, write_leaderboard
from vla.runtime.config import ControlConfig
from vla.types import ActionChunk

SEEDS = range(1_000_000, 1_000_012)


class Lazy(SeekPolicy):
    def act(self, observations, *, seeds):
        chunks = super().act(observations, seeds=seeds)
        return [ActionChunk(actions=c.actions * np.float32(0.01), time=c.time) for c in chunks]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    runs = {"good": (SeekPolicy(), 10.0), "twin": (SeekPolicy(), 10.0), "lazy": (Lazy(), 10.0)}
    for name, (policy, hz) in runs.items():
        for condition in ("given", "blank"):
            evaluate(
                policy,
                PointConfig(instruction=condition, hz=hz),
                tasks=["touch"],
                seeds=SEEDS,
                control=ControlConfig(),
                directory=root / name / condition,
                workers=1,
                max_steps=40,
                provenance={"name": name},
            )
    return root


def test_ranks_are_ranges_and_equals_share_them(root):
    (arena,) = rank_entries(find_entries(root))
    ranks = {s.entry.name: (s.best, s.worst) for s in arena.standings}
    assert ranks == {"good": (1, 2), "twin": (1, 2), "lazy": (3, 3)}
    assert arena.standings[0].entry.language.index == pytest.approx(1.0, abs=0.2)


def test_the_page_shows_every_run_and_links_to_its_report(root):
    (root / "good" / "report.html").write_text("<p>a report</p>")
    page = write_leaderboard(
        root / "board.html", title="All <runs>", arenas=rank_entries(find_entries(root))
    )
    text = page.read_text()
    assert "All &lt;runs&gt;" in text
    assert 'href="good/report.html"' in text
    assert "No winner between good and twin" in text
    assert "good is better than lazy" in text
    assert "out of steps" in text
    assert "<script" not in text


def test_runs_on_other_scenes_stand_in_a_list_of_their_own(root):
    entries = find_entries(root)
    entries[0].main.setup["max_steps"] = 7
    sizes = [len(arena.standings) for arena in rank_entries(entries)]
    entries[0].main.setup["max_steps"] = 40
    assert sizes == [2, 1]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="No finished evaluation"):
        find_entries(tmp_path)


def test_failures_have_kinds(root):
    lazy = next(entry for entry in find_entries(root) if entry.name == "lazy")
    failed = [episode for episode in lazy.main.episodes if not episode.success]
    assert count_failures(lazy.main.episodes) == {"out of steps": len(failed)}
    failed[0].figures["wrong_grasps"] = 1.0
    assert name_failure(failed[0]) == WRONG_GRASP


def test_a_radar_needs_three_spokes():
    assert draw_radar({"a": [0.5, 0.5]}, ["x", "y"]) == ""
    drawn = draw_radar({"a": [1.0, 0.5, 0.0]}, ["x", "y", "z<"])
    assert "M0.0 -100.0" in drawn
    assert "z&lt;" in drawn
