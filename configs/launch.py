"""From a verb and its overrides to a running job: Hydra composes, one message on failure."""

import logging
import os
import re
import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from configs.schemas import GROUPS, JOBS
from vla.errors import ConfigError, VlaError


def register_schemas() -> None:
    """Put every schema of the one table where Hydra looks for it."""
    store = ConfigStore.instance()
    for group, kinds in GROUPS.items():
        for kind, schema in kinds.items():
            store.store(group=group, name=kind, node=schema)
    for verb, schema in JOBS.items():
        store.store(name=f"{verb}_job", node=schema)


def launch(verb: str, arguments: list[str]) -> None:
    """Compose `configs/{verb}.yaml` with the arguments and run the verb.

    Hydra's own flags (--help, --cfg job, -m, --resolve) work as everywhere.

    Raises:
        VlaError: whatever the job raised, or ConfigError for a composition that failed.
    """
    register_schemas()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    failures: list[VlaError] = []

    def run(config: DictConfig) -> None:
        try:
            job = OmegaConf.to_object(config)
            find_verb(verb)(job)
        except VlaError as error:
            failures.append(error)  # Hydra would print a traceback around it
            raise SystemExit(2) from None

    # Hydra prints its own, longer message unless it is told to let errors through.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [f"vla {verb}", *arguments]
    main = hydra.main(config_path="pkg://configs", config_name=verb, version_base="1.3")
    try:
        main(run)()
    except SystemExit:
        if failures:
            raise failures[0] from None
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, verb)) from None


def find_verb(verb: str) -> Callable[[Any], None]:
    """The function behind a verb: `configs/verbs/{verb}.py` holds a `main(job)`."""
    return import_module(f"configs.verbs.{verb}").main


def explain(error: Exception, verb: str) -> str:
    """One message for a failed composition: Hydra's reason, the nearest key, where to look."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    text = str(root) if str(root).startswith("Key") else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    message = lines[0] if lines else type(error).__name__
    if root is not error and not message.startswith("Key"):
        message = f"{message} {str(root).splitlines()[0]}"
    missing = re.search(r"Key '([^']+)'", text) or re.search(r"Could not override '([^']+)'", text)
    if missing:
        near = get_close_matches(missing.group(1).split(".")[-1], sorted(known_keys(verb)), n=1)
        if near:
            message += f" Did you mean {near[0]!r}?"
    choices = [line for line in lines[1:] if not line.startswith(("full_key", "object_type"))]
    if "Could not find" in message and choices:
        message += " " + " ".join(choices[:12])
    return f"{message}\nSee `vla {verb} --help` for every key, `vla list` for the choices."


def known_keys(verb: str) -> set[str]:
    """Every key name that the verb's composed configuration holds."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_module("configs", version_base="1.3"):
        tree = OmegaConf.to_container(compose(verb), resolve=False, throw_on_missing=False)
    names: set[str] = set()
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            names.update(str(key) for key in node)
            pending.extend(node.values())
    return names
