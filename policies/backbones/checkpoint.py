"""Pretrained vision-language models in the format of transformers: folders and hub names."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer

from policies.backbones.word_pieces import make_tokenizer
from vla.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from policies.backbones.language_config import LanguageBackboneConfig


class Pretrained(Protocol):
    """Where weights come from: a hub name or folder, a revision ("": default), a dtype."""

    name: str
    revision: str
    dtype: str


def load_model(config: Pretrained, **options: Any) -> nn.Module:
    """Read the weights, all of them and nothing else.

    Raises:
        CheckpointError: when the checkpoint cannot be read, lacks tensors or has others.
    """
    model, report = read_part(
        config,
        AutoModelForImageTextToText.from_pretrained,
        dtype=getattr(torch, config.dtype),
        use_safetensors=True,
        **options,
        output_loading_info=True,
    )
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[what]:
            keys = sorted(str(key) for key in report[what])
            listing = ", ".join(keys[:20]) + (", ..." if len(keys) > 20 else "")
            raise CheckpointError(
                f"{config.name!r}: {len(keys)} {what.replace('_', ' ')}: {listing}. The weights "
                "do not belong to the config.json beside them; fetch the checkpoint again."
            )
    return model


def read_part(config: Pretrained, load: Callable[..., Any], **options: Any) -> Any:
    """Call a `from_pretrained` with the config's name and revision; no code is run from there.

    Raises:
        ConfigError: without a name.
        CheckpointError: when it cannot be read.
    """
    if not config.name:
        raise ConfigError(f"{type(config).__name__}.name is empty; give a hub name or a folder.")
    try:
        return load(
            config.name, revision=config.revision or "main", trust_remote_code=False, **options
        )
    except (
        *(OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError),
        *(SafetensorError, HfHubHTTPError),
    ) as error:
        first = (str(error).strip() or repr(error)).splitlines()[0].rstrip(".:")
        raise CheckpointError(
            f"Cannot load {config.name!r} as an image-text model: {first}. {_remedy(config.name)}"
        ) from error


def _remedy(name: str) -> str:
    needs = "config.json, *.safetensors, processor and tokenizer files"
    if Path(name).is_dir():
        return f"The folder needs {needs}, all of one image-text model; fetch it again."
    if name.startswith(("/", ".", "~")):
        return f"There is no such folder; give one with {needs}, or a hub name."
    return (
        f"Give a hub name that exists, or a folder with {needs}; without internet, run "
        f"`hf download {name}` on a connected machine and copy its folder here."
    )


def load_vlm(config: Pretrained, kinds: tuple[str, ...]) -> nn.Module:
    """Read a whole model of one of the model types `kinds`, as `load_model` does.

    Raises:
        CheckpointError: also when it is of another type.
    """
    found = read_part(config, AutoConfig.from_pretrained).model_type
    if found not in kinds:
        raise CheckpointError(
            f"{config.name!r} is a model of the type {found!r}; {type(config).__name__} takes "
            f"{' or '.join(kinds)}. `policy/backbone=auto` takes any image-text model."
        )
    return load_model(config, attn_implementation="sdpa")  # takes any mask as it is


def choose_tokenizer(config: "LanguageBackboneConfig") -> Any:
    """The tokenizer of an untrained model: `config.tokenizer`, else the one made here.

    Raises:
        CheckpointError: when it cannot be read.
    """
    if not config.tokenizer:
        return make_tokenizer()
    return load_tokenizer(replace(config, name=config.tokenizer, revision="", tokenizer=""))


def load_tokenizer(config: Pretrained) -> Any:
    """Read the tokenizer alone; pictures are prepared here, on their device.

    Raises:
        CheckpointError: when it cannot be read.
    """
    return read_part(config, AutoTokenizer.from_pretrained)
