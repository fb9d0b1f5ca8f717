"""Every kind of fault, planted into a clean store, is found where it was planted."""

from dataclasses import replace

import numpy as np
import pytest

from vla.data.check.clock import find_camera_lag
from vla.data.check.finding import REMEDIES, SEVERITIES, Finding
from vla.data.check.inspection import inspect_store
from vla.data.check.survey import shrink, survey_store
from vla.data.store import TrajectoryStore

ALONE = {"duplicate", "too_short", "repeated_frames", "camera_lag", "damaged_file"}
"""Kinds with a test of their own."""
"""Kinds that some test of this module planted."""


def test_a_clean_store_gives_no_finding(check):
    inspection = check()
    assert inspection.findings == ()
    assert (inspection.episodes, inspection.decoded) == (7, 7 * 2 * 8)


def _set(index, value):
    def change(values):
        values[index] = value

    return change


def _camera(name, change):
    def apply(episode, editing):
        film = np.array(episode.images[name])
        result = change(film)
        changed = film if result is None else np.ascontiguousarray(result)
        return replace(episode, images={**episode.images, name: changed})

    return apply


def _column(**changes):
    return lambda episode, editing: editing(episode, **changes)


def _insert_gap(time):
    time[20:] += 0.3


def _stutter(time):
    time[::3] += 0.02


def _swap_clock(time):
    time[[10, 11]] = time[[11, 10]]


def _rest(episode, editing):
    state, action = episode.state.copy(), episode.action.copy()
    state[5:30] = state[5]
    action[5:30, :6] = 0
    action[5:30, 6] = action[5, 6]
    return replace(episode, state=state, action=action)


def _degrees(state):
    state[:, 3:6] *= 180 / np.pi


def _millimetres(action):
    action[:, :3] *= 1000


def _jump(state):
    state[20:23, 1] += 0.5


def _slip(state):
    state[20, 4] -= 0.7


def _wrap(state):
    state[20:, 5] += 2 * np.pi


def _flip_gripper(action):
    action[:, 6] = 1 - action[:, 6]


def _drift(state):
    state[:, 2] += 1.2


def _wrong_way(action):
    action[:, :3] *= -1


PLANTED = [
    # kind, severity, what is done to episode 3
    ("time_order", "error", _column(time=_swap_clock)),
    ("time_gap", "warning", _column(time=_insert_gap)),
    ("wrong_rate", "error", _column(time=lambda time: time * 20 / 15)),
    ("jitter", "warning", _column(time=_stutter)),
    ("not_finite", "error", _column(state=_set((7, 2), np.nan))),
    ("not_finite", "error", _column(action=_set((9, 0), np.inf))),
    ("action_bounds", "error", _column(action=_set((9, 0), 0.75))),
    ("state_bounds", "warning", _column(state=_set((9, 6), 1.2))),
    ("wrong_units", "error", _column(state=_degrees)),
    ("wrong_units", "error", _column(action=_millimetres)),
    ("stats_drift", "warning", _column(state=_drift)),
    ("jump", "warning", _column(state=_jump)),
    ("jump", "warning", _column(state=_slip)),
    ("angle_wrap", "warning", _column(state=_wrap)),
    ("idle", "warning", _rest),
    ("gripper_flip", "error", _column(action=_flip_gripper)),
    ("action_mismatch", "error", _column(action=_wrong_way)),
    ("black_camera", "error", _camera("wrist", lambda film: film // 60)),
    ("constant_picture", "error", _camera("front", lambda film: film * 0 + 90)),
    ("over_exposed", "warning", _camera("front", lambda film: film + np.minimum(235, 255 - film))),
    ("frozen_camera", "error", _camera("wrist", lambda film: _set(slice(10, 30), film[10])(film))),
    ("swapped_channels", "error", _camera("front", lambda film: film[..., ::-1])),
    ("turned_camera", "error", _camera("wrist", lambda film: film[:, ::-1, ::-1])),
    ("turned_camera", "error", _camera("front", lambda film: film[:, ::-1])),
    ("missing_language", "error", lambda it, _: replace(it, instruction=" ")),
    ("mixed_success", "warning", lambda it, _: replace(it, success=None)),
    ("failed_episodes", "note", lambda it, _: replace(it, success=False)),
]
CONSEQUENCES = {
    # What else, below an error, a planted fault rightly brings with it.
    "wrong_units": {"state_bounds", "jump", "stats_drift", "action_bounds"},
    "stats_drift": {"jump"},
    "angle_wrap": {"stats_drift"},
    "idle": {"jump"},
}
STORE_WIDE = {"mixed_success", "failed_episodes"}


@pytest.mark.parametrize(
    ("kind", "severity", "plant"), PLANTED, ids=[f"{n}-{p[0]}" for n, p in enumerate(PLANTED)]
)
def test_a_planted_fault_is_found(check, editing, kind, severity, plant):
    findings = check(lambda episode: plant(episode, editing)).findings
    found = [finding for finding in findings if finding.kind == kind]
    assert found
    assert {finding.severity for finding in found} == {severity}
    assert {finding.episode for finding in found} == {None if kind in STORE_WIDE else 3}
    assert {finding.kind for finding in findings} - {kind} <= CONSEQUENCES.get(kind, set())


def test_duplicates(clean, write):
    other = replace(clean[1], instruction="another thing")
    findings = inspect_store(write([*clean, clean[2], other])).findings
    assert [(f.kind, f.severity, f.episode) for f in findings] == [
        ("duplicate", "warning", 7),
        ("duplicate", "warning", 8),
    ]
    assert "episode 2" in findings[0].message
    assert "episode 1" in findings[1].message


def test_a_short_episode(clean, write):
    first = clean[0]
    short = replace(
        first,
        images={name: film[:3] for name, film in first.images.items()},
        state=first.state[:3],
        action=first.action[:3],
        time=first.time[:3],
    )
    findings = inspect_store(write([*clean[1:], short])).findings
    assert [(f.kind, f.episode) for f in findings] == [("too_short", 6)]


EVERYWHERE = [
    ("constant_axis", "error", {"state": _set((slice(None), 5), 0.5)}, "'yaw'"),
    ("zero_first_action", "note", {"action": _set((0, slice(6)), 0)}, "7 of 7"),
    ("action_mismatch", "error", {"action": _wrong_way}, "'dx' moves its state the other way"),
    ("gripper_flip", "error", {"action": _flip_gripper}, "the opposite"),
    ("wrong_units", "error", {"action": lambda a: a * [*[0.001] * 3, 1, 1, 1, 1]}, "'dx'"),
    ("wrong_units", "error", {"state": lambda s: s * [*[1000] * 3, 1, 1, 1, 1]}, "millimetres"),
    ("wrong_rate", "error", {"time": lambda time: time * 2}, "10 Hz"),
]


@pytest.mark.parametrize(("kind", "severity", "columns", "words"), EVERYWHERE)
def test_what_is_wrong_everywhere(check, editing, kind, severity, columns, words):
    def plant(episode):
        return editing(episode, **columns)

    findings = check(plant, number=None).findings
    found = [finding for finding in findings if finding.kind == kind]
    assert found
    assert {finding.severity for finding in found} == {severity}
    assert any(words in finding.message for finding in found)


def test_a_camera_that_is_black_throughout_is_one_finding(check, editing):
    plant = _camera("wrist", lambda film: film * 0)
    findings = check(lambda episode: plant(episode, editing), number=None).findings
    assert [(f.kind, f.camera, f.episode) for f in findings] == [("black_camera", "wrist", None)]


def test_a_slow_camera_is_a_note(check):
    def repeat(episode):
        film = np.array(episode.images["front"])
        film[1::2] = film[: len(film) - len(film) % 2 : 2]
        return replace(episode, images={**episode.images, "front": film})

    findings = check(repeat, number=None).findings
    assert [(f.kind, f.severity, f.camera) for f in findings] == [
        ("repeated_frames", "note", "front")
    ]


def test_a_late_camera(clean, write):
    survey = survey_store(write(clean), frames=0)
    stamped = [
        replace(e, captured={"front": e.time - (0.2 if e.index == 4 else 0.03)})
        for e in survey.episodes
    ]
    (finding,) = find_camera_lag(replace(survey, episodes=stamped))
    assert (finding.kind, finding.episode, finding.camera) == ("camera_lag", 4, "front")
    assert "200 ms before" in finding.message


def test_a_damaged_file_stands_alone(clean, write):
    store = write(clean)
    (path,) = store.path.glob("segments/*/images/wrist/c/0/0/0/0")
    data = path.read_bytes()
    path.write_bytes(data[:500] + bytes([data[500] ^ 255]) + data[501:])
    (finding,) = inspect_store(store).findings
    assert (finding.kind, finding.severity) == ("damaged_file", "error")
    assert "images/wrist" in finding.message


def test_no_language_at_all_is_a_warning(check):
    findings = check(lambda episode: replace(episode, instruction=""), number=None).findings
    assert [(f.kind, f.severity, f.episode) for f in findings] == [
        ("missing_language", "warning", None)
    ]


def test_pictures_can_be_left_alone(clean, write):
    inspection = inspect_store(write(clean), frames=0)
    assert (inspection.findings, inspection.decoded) == ((), 0)


def test_nothing_is_written_into_the_store(clean, write):
    store = write(clean)
    before = sorted((p, p.stat().st_mtime_ns) for p in store.path.rglob("*"))
    inspect_store(store)
    assert sorted((p, p.stat().st_mtime_ns) for p in store.path.rglob("*")) == before


@pytest.mark.parametrize("missing", ["state", "action", "cameras", "all"])
def test_a_body_may_lack_parts(clean, embodiment, tmp_path, missing):
    parts = {"state": (), "action": (), "cameras": {}}
    parts = parts if missing == "all" else {missing: parts[missing]}
    body = replace(embodiment, **parts)
    store = TrajectoryStore.create(tmp_path / "s", embodiment=body, provenance={}, codec="zstd")
    store.append_many(
        replace(
            episode,
            images={name: episode.images[name] for name in body.cameras},
            state=episode.state[:, : len(body.state)],
            action=episode.action[:, : len(body.action)],
        )
        for episode in clean
    )
    assert inspect_store(store).findings == ()


def test_episodes_of_one_step_are_short_and_nothing_else(clean, write):
    def cut(episode):
        images = {name: film[:1] for name, film in episode.images.items()}
        columns = {key: getattr(episode, key)[:1] for key in ("state", "action", "time")}
        return replace(episode, images=images, **columns)

    findings = inspect_store(write([cut(episode) for episode in clean])).findings
    assert [f.episode for f in findings if f.kind == "too_short"] == list(range(7))
    assert {f.kind for f in findings} <= {"too_short", "constant_axis"}


def test_an_empty_store_is_not_an_error(write):
    assert inspect_store(write([])).findings == ()


def test_findings_are_plain_json_with_their_remedy():
    finding = Finding(kind="jump", severity="warning", message="m", episode=2, frames=(3, 5))
    assert finding.to_json()["frames"] == [3, 5]
    assert finding.to_json()["remedy"] == REMEDIES["jump"]


@pytest.mark.parametrize("shape", [(2, 32, 48, 3), (1, 37, 50, 3), (3, 8, 8, 3)])
def test_thumbnails_are_means_of_patches(shape):
    constant = np.full(shape, 77, np.uint8)
    np.testing.assert_allclose(shrink(constant), 77)
    assert shrink(constant).shape == (shape[0], 16, 16, 3)
    if shape[1] >= 16:
        picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        first = picture[0, : shape[1] // 16, : shape[2] // 16].mean(axis=(0, 1))
        np.testing.assert_allclose(shrink(picture)[0, 0, 0], first, rtol=1e-5)


def test_every_kind_is_planted_somewhere():
    assert set(REMEDIES) <= ALONE | {row[0] for row in (*PLANTED, *EVERYWHERE)}
    assert SEVERITIES == ("error", "warning", "note")
