"""What a vision-language model is made of, and what of it is kept and trained."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vla.errors import ConfigError


class Tower(nn.Module):
    """Eyes of a language model: a vision encoder and what leads from it to the decoder.

    Attributes:
        size: pixels along each side of a picture.
        vision, projector: the two parts, which are frozen one by one.
        grid: rows and columns of a picture's tokens.
        waits: its forward asks the device for numbers, so that no CUDA graph can hold it.
    """

    waits: bool = False
    size: int
    vision: nn.Module
    projector: nn.Module
    grid: tuple[int, int]

    def forward(self, pixels: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        """Look at M pictures, each alone.

        Args:
            pixels: float32 (M, 3, size, size) in [0, 1].
            words: (M, D), mean embedding of the prompt that belongs to each.

        Returns:
            Tokens (M, P, D) and, for decoders with DeepStack, what is added to the hidden
            states of their first layers at these places, each (M, P, D).
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """A vision-language model taken apart.

    Attributes:
        tower: its eyes.
        decoder: body of the language model.
        output: its output layer; None when the embeddings serve as such.
        tokenizer: of transformers.
        prompt: the model's own template, see `Prompt`.
        stated: the same with the state in words.
        around: what is written before and behind each picture.
        planar: positions count along the rows and columns of a picture.
    """

    tower: Tower
    decoder: nn.Module
    output: nn.Module | None
    tokenizer: Any
    prompt: str
    stated: str
    around: tuple[str, str] = ("", "")
    planar: bool = False


def keep_layers(decoder: nn.Module, layers: int, owner: str) -> None:
    """Drop the decoder's layers above the first `layers` (0: keep all).

    Raises:
        ConfigError: when there are not so many; `owner` is the config's name.
    """
    if not layers:
        return
    have = len(decoder.layers)
    if not 0 < layers <= have:
        raise ConfigError(f"{owner}.layers is {layers}; the model has {have}.")
    decoder.layers = decoder.layers[:layers]
    decoder.config.get_text_config().num_hidden_layers = layers


def make_state_token(how: str, entries: int, width: int) -> nn.Module | None:
    """What makes one token of a state with so many entries; None when no token is made."""
    if how == "mlp":
        return nn.Sequential(nn.Linear(entries, width), nn.GELU(), nn.Linear(width, width))
    return nn.Linear(entries, width) if how == "token" else None


def untie(output: nn.Linear, decoder: nn.Module) -> nn.Linear | None:
    """The output layer, or None when it is the embeddings' weight under a second name.

    A second name for one tensor cannot be saved (safetensors), and an output layer that no
    head uses would be a weight without a gradient.
    """
    return None if output.weight is decoder.get_input_embeddings().weight else output


def divide(size: int, cell: int) -> tuple[int, int]:
    """Rows and columns of cells in a square picture.

    Raises:
        ConfigError: when it does not divide evenly.
    """
    if size % cell:
        near = max(1, round(size / cell)) * cell
        raise ConfigError(
            f"image_size {size} is not a multiple of this model's cells of {cell} pixels; "
            f"e.g. image_size={near}."
        )
    return size // cell, size // cell
