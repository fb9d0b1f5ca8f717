"""Our worlds in lerobot-eval's own functions."""

import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # imports LeRobot's policies

FOLDER = Path(__file__).parents[2] / "plugins" / "lerobot_env_vla"
sys.path.insert(0, str(FOLDER))


def test_lerobot_would_find_the_distribution():
    name = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]["name"]
    assert name.startswith("lerobot_env_")
    assert (FOLDER / name / "__init__.py").exists()


@pytest.mark.filterwarnings("ignore")
def test_lerobots_evaluation_runs_our_tasks():
    import lerobot_env_vla  # noqa: F401  (registers the type, as LeRobot's discovery does)
    import torch
    from lerobot.envs import make_env, make_env_pre_post_processors
    from lerobot.envs.factory import make_env_config
    from lerobot.scripts.lerobot_eval import rollout

    config = make_env_config("vla", world="tabletop", task="reach,lift", image_size=32)
    assert config.fps == 20
    assert config.features_map["pixels/wrist"] == "observation.images.wrist"
    envs = make_env(config, n_envs=2)
    assert list(envs["tabletop"]) == [0, 1]
    before, after = make_env_pre_post_processors(config, policy_cfg=None)
    seen = []

    class Still(torch.nn.Module):
        def reset(self):
            pass

        def select_action(self, batch):
            seen.append(batch)
            action = torch.zeros(2, 7)
            action[:, 6] = 1
            return action

    played = rollout(
        envs["tabletop"][0], Still(), before, after, lambda x: x, lambda x: x, seeds=[0, 1]
    )
    assert played["success"].sum() == 0
    assert played["done"][:, -1].all()
    assert played["done"].shape[1] == len(seen)
    batch = seen[0]
    assert batch["observation.images.front"].shape == (2, 3, 32, 32)
    assert batch["observation.state"].shape == (2, 14)
    assert all(words.startswith("reach") for words in batch["task"])
    for vector in envs["tabletop"].values():
        vector.close()


@pytest.mark.filterwarnings("ignore")
def test_the_env_passes_gymnasiums_checker_and_ends_on_success():
    from gymnasium.utils.env_checker import check_env
    from lerobot_env_vla.env import VlaEnv

    from envs.benchmarks.config_arms import PushtWorldConfig

    env = VlaEnv(PushtWorldConfig(horizon=5), "push_t")
    check_env(env, skip_render_check=True)
    env.reset(seed=1)
    ends = [env.step(np.zeros(2, np.float32))[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]
    assert env._max_episode_steps == 5
    assert env.render().shape == (96, 96, 3)
    env.close()
