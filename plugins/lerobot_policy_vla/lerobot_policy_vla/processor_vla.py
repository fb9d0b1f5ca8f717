"""LeRobot's default processors; with IDENTITY for everything they only move and name things."""

import torch
from lerobot.processor import PolicyProcessorPipeline
from lerobot.processor.factory import make_default_pre_post_processors

from lerobot_policy_vla.configuration_vla import VlaConfig


def make_vla_pre_post_processors(
    config: VlaConfig, dataset_stats: dict[str, dict[str, torch.Tensor]] | None = None
) -> tuple[PolicyProcessorPipeline, PolicyProcessorPipeline]:
    """Both pipelines; `dataset_stats` go to the policy itself instead."""
    return make_default_pre_post_processors(config, None)
