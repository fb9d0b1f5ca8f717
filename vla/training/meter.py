"""Per-step metrics, averaged over the steps between two log lines."""

from collections.abc import Mapping


class Meter:
    """Collects what `Learner.update` returns; `drain` gives it as curves' names and values."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, metrics: Mapping[str, float]) -> None:
        """Take in one step."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def drain(self) -> dict[str, float]:
        """Means since the last call, the policy's own under "train/"; starts anew.

        `samples_per_second` counts loading and computing, not validating and saving.
        """
        means = {name: value / self._count for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        samples = means.pop("samples")
        seconds = means["seconds_loader"] + means["seconds_compute"]
        own = {name: means.pop(name) for name in
               ("learning_rate", "gradient_norm", "seconds_loader", "seconds_compute")}  # fmt: skip
        train = {f"train/{name}": value for name, value in means.items()}
        return train | own | {"samples_per_second": samples / seconds}
