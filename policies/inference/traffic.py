"""Work of a plan: multiplications and bytes of weights, counted while it runs.

Every operator that torch dispatches is seen. FLOPs are those of torch's own formulas
(`torch.utils.flop_counter`: matrix products, convolutions, attention; two per multiply-add).
Bytes are those of the policy's weights that an operator reads, every time it reads them: ten
denoising steps read the expert ten times. Embeddings count the rows that were looked up.
Activations, keys and values are left out, so a floor made of these numbers is a true one.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

_LOOKED_UP = {"embedding", "index", "index_select", "gather"}


class Traffic(TorchDispatchMode):
    """Counts while it is entered; `read` is a meter for `phases.Scopes`.

    Attributes:
        flops, bytes: so far.
    """

    def __init__(self, policy: nn.Module):
        """`policy`: whose weights are counted; it may be on any device."""
        super().__init__()
        owned = (*policy.parameters(), *policy.buffers())
        self._weights = {tensor.untyped_storage().data_ptr() for tensor in owned}
        self.flops = self.bytes = 0.0

    def read(self) -> np.ndarray:
        """float64 (2,): FLOPs and bytes."""
        return np.array([self.flops, self.bytes])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let torch do its work, and count it."""
        kwargs = kwargs or {}
        packet = func._overloadpacket
        # In inference mode a linear layer arrives whole; its parts have the formulas.
        if packet not in flop_registry and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if packet in flop_registry:
            self.flops += flop_registry[packet](*args, **kwargs, out_val=result)
        name = packet.__name__
        if name == "linear_dynamic":  # int8, its weights laid out in an object of torch's
            self.flops += 2 * args[0].numel() * result.shape[-1]
            self.bytes += args[0].shape[-1] * result.shape[-1]
        elif not func.is_view:
            self.bytes += sum(
                (result if name in _LOOKED_UP else tensor).nbytes
                for tensor in tree_leaves((args, kwargs))
                if isinstance(tensor, Tensor) and self._is_weight(tensor)
            )
        return result

    def _is_weight(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._weights
