"""Ablate: measure the effect of each change of a base configuration, over seeds, with intervals.

On this machine:    python jobs/ablate.py --study tune/ablations/demo.yaml --train.launch task
On a cluster:       ray job submit --working-dir . -- python jobs/ablate.py
                    --study tune/ablations/demo.yaml --store s3://bucket/store

Writes Markdown and CSV to the store. All rows share one store: unchanged stages are not run again,
and the same command continues an interrupted study.
"""

from musicrec.config.jobs import AblateConfig
from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = (
    "train",
    "ensemble",
    "embed",
    "extract",
    "evaluate",
    "catalog_rules",
    "registry",
    "lock",
    "ray",
)


def main(config):
    from musicrec.studies.ablate import ablate

    ablate(config)


if __name__ == "__main__":
    run_job(__doc__, main, kind=AblateConfig, sections=SECTIONS)
