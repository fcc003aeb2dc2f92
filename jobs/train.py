"""Train: the submodels and their predictions; --submodels names some of them.

On this machine:    python jobs/train.py --catalog FOLDER --submodels mel.time,mel.freq
On a cluster:       ray job submit --working-dir . -- python jobs/train.py
                    --catalog s3://bucket/catalog --store s3://bucket/store
"""

from musicrec.config.jobs import TrainConfig
from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = ("train", "embed", "extract", "catalog_rules", "registry", "lock", "ray")


def main(config):
    from musicrec.pipeline.retrain import train_submodels

    train_submodels(config, [name for name in config.submodels.split(",") if name])


if __name__ == "__main__":
    run_job(__doc__, main, kind=TrainConfig, sections=SECTIONS)
