"""Check the rules of a configuration that span several of its keys."""

from __future__ import annotations

from musicrec.config.errors import ConfigError, suggestion
from musicrec.config.inputs import (
    FIELDS,
    INPUTS,
    OWN_FIELD,
    PRETRAINED,
    VECTOR_ARCHITECTURES,
    VECTOR_NAMES,
    VECTORS,
)
from musicrec.config.jobs import Config
from musicrec.config.names import FEATURES
from musicrec.config.packages import check_installed
from musicrec.config.sections import EmbedSettings
from musicrec.storage.uri import why_unusable
from musicrec.telemetry.redact import holds_password, redacted

NO_PASSWORDS = (
    "a URI is written next to every result: "
    "give credentials by environment variables, a profile or a role"
)
SOFTMAX = ("contrastive", "pagerank")
# The objectives of artist embeddings that a setting is for.
OBJECTIVES_OF = {
    "temperature": SOFTMAX,
    "temperatures": SOFTMAX,
    "uniform_negatives": SOFTMAX,
    "rank_exponent": ("contrastive",),
    "restart": ("pagerank",),
    "neighbourhood": ("pagerank",),
    "metric": ("contrastive",),
    "initial": SOFTMAX,
    "steps": SOFTMAX,
}


def check(config: Config) -> None:
    """Check every rule.

    Raises
    ------
    ConfigError
        Naming the keys and the fix.
    """
    of_models = (_inputs_of_models, _features_of_the_catalog, _submodels_of_stacks)
    for rule in (
        _locations,
        _relations,
        _learning_rate_phases,
        _embeddings,
        *of_models,
        _training,
        _branches,
        _pretrained,
    ):
        rule(config)


def _locations(config: Config) -> None:
    places = {
        "store": (config.store,),
        "catalog": (config.catalog,),
        "plays": () if config.plays is None else (config.plays,),
        "catalog_rules.allowed_roots": config.catalog_rules.allowed_roots,
    }
    for key, uris in places.items():
        for uri in uris:
            if holds_password(uri):
                raise ConfigError(f"{key} = {redacted(uri)}: {NO_PASSWORDS}")
            if reason := why_unusable(uri):
                raise ConfigError(f"{key} = {uri!r}: {reason}")


def _relations(config: Config) -> None:
    if config.plays is not None and config.relations.item != "artist":
        raise ConfigError(
            f"relations.item is {config.relations.item}, but embeddings are of artists: "
            "set it to artist"
        )


def _learning_rate_phases(config: Config) -> None:
    sections = {f"models.{name}": model for name, model in config.models.items()}
    sections |= {f"stacks.{name}": stack for name, stack in config.stacks.items()} | {
        "ensemble": config.ensemble,
        "embed": config.embed,
    }
    for key, section in sections.items():
        if len(section.learning_rates) != len(section.patience):
            raise ConfigError(
                f"{key}.learning_rates has {len(section.learning_rates)} phases and "
                f"{key}.patience has {len(section.patience)}: give one patience per phase"
            )
    if len(config.embed.artists_per_step) != len(config.embed.patience):
        raise ConfigError("embed.artists_per_step and embed.patience must have one value per phase")


def _embeddings(config: Config) -> None:
    embed, default = config.embed, EmbedSettings()
    if embed.select_by == "held_out" and not embed.held_out:
        raise ConfigError(
            "embed.select_by is held_out and embed.held_out is 0: give a share to hold out, or "
            "select by loss or jaccard"
        )
    for key, objectives in OBJECTIVES_OF.items():
        if embed.objective not in objectives and getattr(embed, key) != getattr(default, key):
            name = "thesis'" if embed.objective == "thesis" else embed.objective
            raise ConfigError(
                f"embed.{key} is {getattr(embed, key)}, which the {name} objective does not have: "
                f"set embed.objective to {' or '.join(objectives)}, or leave it out"
            )


def _inputs_of_models(config: Config) -> None:
    for name, model in config.models.items():
        readable = _readable_features(model.architecture)
        if model.feature not in readable:
            fix = "give one of " + ", ".join(readable) if None not in readable else "leave it out"
            raise ConfigError(
                f"models.{name}.feature is {model.feature}, but architecture "
                f"'{model.architecture}' reads another input: {fix}"
            )
        own_field = OWN_FIELD.get(model.architecture)
        if own_field is not None and FIELDS[own_field].kind == "text" and model.mixup:
            raise ConfigError(
                f"models.{name}.mixup is {model.mixup:g}, but word indices cannot be mixed: "
                "set it to 0"
            )
        if model.feature in VECTOR_NAMES:
            _vector(config, name)
        elif model.feature is not None and model.feature not in config.extract.features:
            raise ConfigError(
                f"models.{name}.feature is '{model.feature}', which extract.features does not "
                "list: add it there"
            )


def _readable_features(architecture: str) -> tuple[str | None, ...]:
    """Return what an architecture can read; None where its input is a field of the catalog."""
    if architecture in OWN_FIELD:
        return (None,)
    return VECTOR_NAMES if architecture in VECTOR_ARCHITECTURES else FEATURES


def _vector(config: Config, name: str) -> None:
    """Check a model that reads a vector: it has no frames, and is extracted or can be computed."""
    model = config.models[name]
    if model.feature in PRETRAINED and model.feature not in config.extract.pretrained:
        raise ConfigError(
            f"models.{name}.feature is '{model.feature}', which extract.pretrained does not list: "
            "add it there"
        )
    features = () if model.feature in PRETRAINED else VECTORS[model.feature].features
    if features and not {*features} & {*config.extract.features}:
        raise ConfigError(
            f"models.{name}.feature is '{model.feature}', which is computed from "
            f"{', '.join(features)}: add one of them to extract.features"
        )
    if model.standardise not in ("per_feature_bin", "none"):
        raise ConfigError(
            f"models.{name}.standardise is {model.standardise}, but '{model.feature}' is a vector "
            "without frames: set it to per_feature_bin (the training tracks' mean and deviation)"
        )
    if (*model.pool, model.time_mask, model.frequency_mask) != (1, 1, 0, 0):
        raise ConfigError(
            f"models.{name}: pool, time_mask and frequency_mask are for spectrograms, and "
            f"'{model.feature}' is a vector: leave them out"
        )


def _features_of_the_catalog(config: Config) -> None:
    images = config.catalog_rules.form == "cifar100"
    for feature in config.extract.features:
        if (feature == "cifar") != images:
            fix = "[cifar]" if images else "features of audio"
            raise ConfigError(
                f"extract.features has '{feature}', but catalog_rules.form is "
                f"{config.catalog_rules.form}: give {fix}"
            )


def _pretrained(config: Config) -> None:
    """Check that the networks that extraction uses are installed here, and have recordings."""
    for name in config.extract.pretrained:
        if config.catalog_rules.form == "cifar100":
            raise ConfigError(
                f"extract.pretrained has '{name}', which reads recordings, but catalog_rules.form "
                "is cifar100: leave it out"
            )
        network = PRETRAINED[name]
        check_installed(network.package, network.version, f"extract.pretrained '{name}'")


def _submodels_of_stacks(config: Config) -> None:
    for name, stack in config.stacks.items():
        missing = [submodel for submodel in stack.submodels if submodel not in config.models]
        if missing:
            close = suggestion(missing[0], config.models)
            raise ConfigError(
                f"stacks.{name}.submodels has '{missing[0]}', which is not among models{close}"
            )
        if name in config.models:
            raise ConfigError(f"stacks.{name}: a model has the same name; rename the stack")


def _training(config: Config) -> None:
    train = config.train
    if train.minimum_workers is not None and train.minimum_workers > train.workers:
        raise ConfigError(
            f"train.minimum_workers is {train.minimum_workers} and train.workers is "
            f"{train.workers}: give at most train.workers"
        )
    if train.launch == "task" and (train.workers != 1 or train.minimum_workers is not None):
        raise ConfigError(
            f"train.launch is task and train.workers is {train.workers}: a task is one worker; "
            "set train.workers to 1, or train.launch to group"
        )
    if train.precision != "float32" and not train.gpu:
        raise ConfigError(
            f"train.precision is {train.precision}, which needs a GPU: set train.gpu, or float32"
        )
    selecting = {f"models.{name}": model for name, model in config.models.items()} | {
        "ensemble": config.ensemble
    }
    for key, section in selecting.items():
        if section.select_by == "neighbours" and config.task != "embedding":
            raise ConfigError(
                f"{key}.select_by is neighbours, which the task {config.task} does not have: "
                "set it to metric"
            )
    if train.folds == 1:
        raise ConfigError(
            "train.folds is 1: out-of-fold predictions need at least 2 folds; 0 turns them off"
        )


def _branches(config: Config) -> None:
    for branch in config.ensemble.branches if config.task == "embedding" else ():
        missing = [name for name in INPUTS[branch].submodels if name not in config.models]
        if missing:
            raise ConfigError(
                f"ensemble.branches has '{branch}', which needs models.{missing[0]}: "
                "add that model, or leave the branch out"
            )
