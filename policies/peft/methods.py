"""Every kind of adapters by name. Plain data: importing this costs nothing."""

from policies.peft.config import AdaloraConfig, DoraConfig, LoraConfig, PeftConfig
from policies.peft.config_library import (
    DeloraConfig,
    HraConfig,
    LohaConfig,
    LokrConfig,
    MissConfig,
    OftConfig,
    RandloraConfig,
    VeraConfig,
)
from policies.peft.config_own import NolaConfig, SelectiveConfig, SvfitConfig

METHODS: dict[str, type] = {
    "none": PeftConfig,
    "lora": LoraConfig,
    "dora": DoraConfig,
    "adalora": AdaloraConfig,
    "vera": VeraConfig,
    "randlora": RandloraConfig,
    "oft": OftConfig,
    "hra": HraConfig,
    "loha": LohaConfig,
    "lokr": LokrConfig,
    "miss": MissConfig,
    "delora": DeloraConfig,
    "nola": NolaConfig,
    "svfit": SvfitConfig,
    "selective": SelectiveConfig,
}
