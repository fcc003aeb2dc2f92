"""The job: check the locations, relate, write the output, and say what was done."""

from __future__ import annotations

from musicrec.config.errors import ConfigError
from musicrec.config.jobs import RelateConfig
from musicrec.relations.output import check_out
from musicrec.relations.relate import relate, write_out
from musicrec.storage import s3
from musicrec.storage.store import Store
from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import holds_password, redacted


def relate_job(config: RelateConfig) -> None:
    """Write the relations of a configuration to its ``out``.

    Raises
    ------
    ConfigError
        A location is missing, wrong or may not be used.
    """
    locations = {"plays": config.plays, "out": config.out, "store": config.store}
    if not config.plays:
        raise ConfigError("--plays is empty: name a file, a folder or a URI of plays")
    for option, uri in locations.items():
        if holds_password(uri):
            raise ConfigError(
                f"--{option} {redacted(uri)}: give credentials by environment variables, a profile "
                "or a role"
            )
    check_out(config.out)
    problems = [
        line
        for option, uri in locations.items()
        if uri.startswith("s3://")
        for line in s3.access_problems(
            uri.rpartition("/")[0] if option == "out" else uri, option != "plays"
        )
    ]
    if problems:
        raise ConfigError("the object storage cannot be used:\n" + "\n".join(problems))
    done = relate(
        config.plays,
        config.form,
        config.relations,
        Store(config.store),
        config.ray,
        config.lock,
    )
    written = write_out(done, config.out, config.relations.item)
    if not (done.worked or written):
        event("relate", "already complete, nothing to do", key=done.steps.stage.key)
