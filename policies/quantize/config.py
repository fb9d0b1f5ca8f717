"""Recipes: which layers are stored in how many bits, and how the result is run."""

from dataclasses import dataclass, field

from policies.checks import require_choice, require_positive
from vla.errors import ConfigError

SKIPPED = (  # few weights, much precision: what enters, leaves, keeps time or points
    "*.enter", "*.leave*", "*.clock*", "*.modulate*", "*film*", "*.pointer.*",
    "*.from_state*", "*embed*", "*lm_head", "*.output", "*router*", "*.state", "*.memory",
)  # fmt: skip
PARTS = ("vision", "language", "head")
PRECISIONS = ("float32", "bfloat16", "auto")
ENGINES = ("torch", "openvino")
COMPILE_MODES = ("", "default", "reduce-overhead", "max-autotune")


@dataclass(kw_only=True, slots=True)
class RuntimeConfig:
    """How a deployed policy is run; see `policies.compiled`.

    Attributes:
        engine: what computes backbone and head: "torch", or "openvino", one graph for a CPU.
        precision: of what is not quantized; "auto": bfloat16 where the device computes it.
        threads: CPU threads of one plan; 0 leaves them as they are.
        channels_last: lay convolutions' weights out as CPUs and tensor cores like them.
        compile: mode of torch.compile for backbone and head; "": none. "reduce-overhead" and
            "max-autotune" record CUDA graphs.
    """

    engine: str = "torch"
    precision: str = "float32"
    threads: int = 0
    channels_last: bool = False
    compile: str = ""

    def __post_init__(self) -> None:
        require_choice(self, "engine", ENGINES)
        require_choice(self, "precision", PRECISIONS)
        require_choice(self, "compile", COMPILE_MODES)
        if self.threads < 0:
            raise ConfigError(f"runtime.threads is {self.threads}; give 0 or more.")
        if self.engine != "torch" and self.compile:
            raise ConfigError("runtime.compile is for engine=torch; leave it empty.")
        if self.engine != "torch" and self.precision != "float32":
            raise ConfigError("runtime.precision is for engine=torch; leave it at float32.")


@dataclass(kw_only=True, slots=True)
class RecipeConfig:
    """Base of the recipes; by itself ("none") it quantizes nothing.

    Attributes:
        parts: of the policy that may be quantized: "vision", "language", "head".
        skip: glob patterns of layer names that stay as they are.
        least: layers with fewer weights stay as they are.
        smooth: for 8-bit activations, strengths of SmoothQuant's scale migration
            (arXiv:2211.10438) that are tried per layer; the one of least error is taken.
        layer_limit: largest relative error of a layer's output on calibration data that the
            gate lets pass.
        runtime: how the result is run.
    """

    kind: str = "none"
    parts: list[str] = field(default_factory=lambda: list(PARTS))
    skip: list[str] = field(default_factory=lambda: list(SKIPPED))
    least: int = 60_000
    smooth: list[float] = field(default_factory=list)
    layer_limit: float = 0.1
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        require_positive(self, "layer_limit")
        if unknown := set(self.parts) - set(PARTS):
            raise ConfigError(f"parts names {sorted(unknown)}; choose from {', '.join(PARTS)}.")
        if any(not 0 <= strength <= 1 for strength in self.smooth):
            raise ConfigError(f"smooth is {self.smooth}; strengths lie between 0 and 1.")


@dataclass(kw_only=True, slots=True)
class Bfloat16Config(RecipeConfig):
    """bfloat16 weights and activations in the chosen layers."""

    kind: str = "bfloat16"
    layer_limit: float = 0.05


@dataclass(kw_only=True, slots=True)
class Int8Config(RecipeConfig):
    """8-bit weights per channel, 8-bit activations: the one for CPUs with VNNI."""

    kind: str = "int8"
    smooth: list[float] = field(default_factory=lambda: [0.25, 0.5, 0.75])


@dataclass(kw_only=True, slots=True)
class Int8WeightsConfig(RecipeConfig):
    """8-bit weights per channel; activations stay. Saves memory; no faster on a CPU."""

    kind: str = "int8_weights"
    layer_limit: float = 0.05


@dataclass(kw_only=True, slots=True)
class Int4WeightsConfig(RecipeConfig):
    """4-bit weights in groups along the inputs; activations stay.

    Attributes:
        group: weights that share a scale and a zero: 32, 64, 128 or 256.
        gptq: choose codes by GPTQ (arXiv:2210.17323) on the calibration data, not by rounding.
    """

    kind: str = "int4_weights"
    group: int = 32
    gptq: bool = True
    layer_limit: float = 0.3

    def __post_init__(self) -> None:
        RecipeConfig.__post_init__(self)
        require_choice(self, "group", (32, 64, 128, 256))


@dataclass(kw_only=True, slots=True)
class Float8Config(RecipeConfig):
    """float8 (e4m3) weights per channel and activations per token: for GPUs of sm89 and up."""

    kind: str = "float8"


RECIPES: dict[str, type[RecipeConfig]] = {
    "none": RecipeConfig,
    "bfloat16": Bfloat16Config,
    "int8": Int8Config,
    "int8_weights": Int8WeightsConfig,
    "int4_weights": Int4WeightsConfig,
    "float8": Float8Config,
}
