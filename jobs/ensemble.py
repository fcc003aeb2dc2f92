"""Ensemble: train the stacks and the Recommendation ensemble, after the stages that they need.

On this machine:    python jobs/ensemble.py --catalog FOLDER
On a cluster:       ray job submit --working-dir . -- python jobs/ensemble.py
                    --catalog s3://bucket/catalog --store s3://bucket/store
"""

from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = ("ensemble", "train", "embed", "extract", "catalog_rules", "registry", "lock", "ray")


def main(config):
    from musicrec.pipeline.retrain import train_stacks

    train_stacks(config)


if __name__ == "__main__":
    run_job(__doc__, main, sections=SECTIONS)
