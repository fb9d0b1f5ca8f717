"""From a verb and its overrides to a running job: Hydra composes, one message on failure."""

import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module
from importlib.resources import files
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from configs.schemas import GROUPS, JOBS
from vla.errors import ConfigError, VlaError

QUIET = (  # each verb writes where its `output` says; Hydra's own folders and logs stay out
    "hydra.run.dir=.",
    "hydra.sweep.dir=.",
    "hydra.sweep.subdir=.",
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)
CompositionError = (HydraException, OmegaConfBaseException)


def register_schemas() -> None:
    """Put every schema of the one table where Hydra looks for it."""
    store = ConfigStore.instance()
    for group, kinds in GROUPS.items():
        for kind, schema in kinds.items():
            store.store(group=group, name=kind, node=schema)
    for verb, schema in JOBS.items():
        store.store(name=f"{name_file(verb)}_job", node=schema)


def name_file(verb: str) -> str:
    """Stem of a verb's YAML and module; "data check" is a tool of the verb "data"."""
    return verb.replace(" ", "_")


def launch(verb: str, arguments: list[str]) -> None:
    """Compose the verb's YAML file with the arguments and run the verb.

    Hydra's own flags (--cfg job, --multirun, --info, ...) work as everywhere.

    Raises:
        VlaError: whatever the job raised, or ConfigError for a composition that failed.
    """
    register_schemas()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("OpenGL").setLevel(logging.WARNING)  # it tells of every optional part
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(describe(verb))
        return
    # argparse wants all overrides together, before or after the flags; people mix them.
    overrides = [word for word in arguments if "=" in word and not word.startswith("--")]
    flags = [word for word in arguments if word not in overrides]
    sys.argv = [f"vla {verb}", *flags, *map(open_table, overrides), *QUIET]
    failures: list[VlaError] = []

    def run(config: DictConfig) -> None:
        try:
            require_complete(config)
            find_verb(verb)(build_job(config))
        except VlaError as error:
            failures.append(error)
        except OmegaConfBaseException as error:
            failures.append(ConfigError(explain(error, verb)))
        except OSError as error:  # a file that cannot be read or written; anything else is a bug
            if error.filename is None:
                raise
            failures.append(VlaError(f"{error.filename}: {error.strerror}. Is the path right?"))
        if failures:  # leave Hydra without an exception: it would print a traceback around it
            raise SystemExit(2)

    # Hydra prints its own, longer message unless it is told to let errors through.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        compose_and = hydra.main(
            config_path="pkg://configs", config_name=name_file(verb), version_base="1.3"
        )
        compose_and(run)()
    except CompositionError as error:
        raise ConfigError(explain(error, verb)) from None
    except SystemExit:
        if failures:
            raise failures[0] from None
        raise


def build_job(config: DictConfig) -> Any:
    """The job's dataclass. Raises ConfigError for a table given to what has none."""
    try:
        return OmegaConf.to_object(config)
    except AttributeError as error:  # a key that `open_table` forced in
        raise ConfigError(f"A table was given to what has none: {error}") from None


def open_table(word: str) -> str:
    """Let an override fill a table: `data.weights={a: 1}` may bring keys that are new.

    Hydra wants "++" before it for that; people do not expect to need it.
    """
    key = word.split("=")[0].split(".")[-1]
    tables = {
        field.name
        for schema in (
            *JOBS.values(),
            *(kind for kinds in GROUPS.values() for kind in kinds.values()),
        )
        for field in fields(schema)
        if str(field.type).startswith("dict[")
    }
    return f"++{word}" if key in tables and word[0] not in "+~" else word


def require_complete(config: DictConfig) -> None:
    """Raise ConfigError naming every key that has no default and no value."""
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(f"Give {', '.join(f'{key}=...' for key in missing)}; no default fits.")


def find_verb(verb: str) -> Callable[[Any], None]:
    """The function behind a verb: its module in `configs/verbs/` holds a `main(job)`."""
    return import_module(f"configs.verbs.{name_file(verb)}").main


def describe(verb: str) -> str:
    """What `vla VERB --help` prints: the job's own words, the choices, every key's default."""
    defaults = OmegaConf.to_yaml(compose(verb))
    groups = "\n".join(f"  {group}: {', '.join(list_choices(group))}" for group in GROUPS)
    return (
        f"usage: vla {verb} [group=choice ...] [key=value ...] [--cfg job] [--multirun]\n\n"
        f"{inspect.cleandoc(JOBS[verb].__doc__ or '')}\n\n"
        + ("" if " " in verb else f"groups (see `vla list`):\n{groups}\n\n")
        + "keys and defaults:\n\n"
        + "".join(f"  {line}\n" for line in defaults.splitlines())
    )


def compose(verb: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The verb's configuration; "???" where a value must still be given."""
    GlobalHydra.instance().clear()
    if verb == "convert" and not overrides:
        overrides = ["source=bridge"]  # every format is a choice; show one
    with hydra.initialize_config_module("configs", version_base="1.3"):
        return hydra.compose(name_file(verb), list(overrides))


def explain(error: Exception, verb: str) -> str:
    """One message for a failed composition: Hydra's reason, the nearest key, where to look."""
    reasons: list[BaseException] = [error]
    while reasons[-1].__cause__ is not None:
        reasons.append(reasons[-1].__cause__)
    first, last = (str(reason).strip().splitlines() for reason in (error, reasons[-1]))
    message = last[0] if last[0].startswith("Key") or len(reasons) == 1 else f"{first[0]} {last[0]}"
    if missing := re.match(r"In '.*': Could not find '(.+)/(.+)'", first[0]):
        group, name = missing.groups()
        kinds = list_choices(group)
        message = f"Unknown {group} {name!r}.{suggest(name, kinds)} Choices: {', '.join(kinds)}."
    elif missing := re.match(r"Key '([^']+)'", message):
        message += suggest(missing[1], known_keys(compose(verb)))
    return f"{message}\nSee `vla {verb} --help` for every key, `vla list` for the choices."


def list_choices(group: str) -> list[str]:
    """Kinds and presets (YAML files in `configs/{group}/`) of a group."""
    folder = files("configs").joinpath(group)
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    presets = [name.removesuffix(".yaml") for name in names if name.endswith(".yaml")]
    return sorted({*GROUPS.get(group, ()), *presets})


def suggest(name: str, choices: list[str]) -> str:
    """The question "did you mean" for the nearest choice, or nothing."""
    near = get_close_matches(name, choices, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def known_keys(config: DictConfig) -> list[str]:
    """Every key name in a composed configuration."""
    names: set[str] = set()
    pending: list[Any] = [OmegaConf.to_container(config, resolve=False)]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            names.update(str(key) for key in node)
            pending.extend(node.values())
    return sorted(names)
