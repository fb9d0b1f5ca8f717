"""Words modulate vision: FiLM (Perez et al. 2018, arXiv 1709.07871) in vision transformers.

As OpenVLA-OFT+ (arXiv 2502.19645): in every layer, after attention and before the MLP, the
tokens x become (1 + gamma) x + beta, where gamma and beta are linear in the mean embedding of
the prompt. Unlike its code, both start at zero, so that an adapted model begins as it was.
"""

from torch import Tensor, nn


class Film(nn.Module):
    """Scale and shift for each of the layers of one tower."""

    def __init__(self, condition: int, width: int, layers: int):
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(condition, 2 * width) for _ in range(layers))
        for linear in self.linears:
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, layer: int, words: Tensor, dtype: object) -> tuple[Tensor, Tensor]:
        """Words (M, condition) to scale and shift, each (M, 1, width), of this layer."""
        linear = self.linears[layer]
        scale, shift = linear(words.to(linear.weight.dtype)).to(dtype)[:, None].chunk(2, dim=-1)
        return scale, shift


def film_dino(layer: nn.Module, x: Tensor, *modulation: Tensor) -> Tensor:
    """One DINOv2 layer on x (M, n, width), modulated by scale and shift if there are any."""
    if not modulation:
        return layer(x)
    scale, shift = modulation
    x = x + layer.drop_path(layer.layer_scale1(layer.attention(layer.norm1(x))))
    x = (1 + scale) * x + shift
    return x + layer.drop_path(layer.layer_scale2(layer.mlp(layer.norm2(x))))


def film_siglip(layer: nn.Module, x: Tensor, *modulation: Tensor) -> Tensor:
    """One SigLIP layer on x (M, n, width), modulated by scale and shift if there are any."""
    if not modulation:
        return layer(x, None)
    scale, shift = modulation
    attended, _ = layer.self_attn(hidden_states=layer.layer_norm1(x), attention_mask=None)
    x = (1 + scale) * (x + attended) + shift
    return x + layer.mlp(layer.layer_norm2(x))
