"""Ablate: what each change of a base configuration is worth, over seeds, with intervals (Markdown and CSV in the store).

On this machine:    python jobs/ablate.py --study tune/ablations/demo.yaml --train.launch task
On a cluster:       ray job submit --working-dir . -- python jobs/ablate.py --study tune/ablations/demo.yaml --store s3://bucket/store

All rows lie in one store: what a row does not change is not trained again, and the same command goes on with a study that was interrupted.
"""

from musicrec.config.jobs import AblateConfig
from musicrec.runtime.job import run_job


def main(config):
    from musicrec.studies.ablate import ablate

    ablate(config)


if __name__ == "__main__":
    run_job(__doc__, main, kind=AblateConfig)
