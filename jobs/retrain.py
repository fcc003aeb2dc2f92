"""Retrain: from a catalog to a registered recommender; stages whose output is complete are skipped.

On this machine:    python jobs/retrain.py
On a cluster:       ray job submit --working-dir . -- python jobs/retrain.py
                    --preset thesis-webapi --catalog s3://b/catalog --store s3://b/store
"""

from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = (
    "train",
    "ensemble",
    "ranking",
    "extract",
    "embed",
    "evaluate",
    "registry",
    "report",
    "catalog_rules",
    "relations",
    "lock",
    "ray",
)


def main(config):
    from musicrec.pipeline.retrain import retrain

    done, registered = retrain(config)
    from musicrec.pipeline.summary import print_summary

    print_summary(done, registered)


if __name__ == "__main__":
    run_job(__doc__, main, sections=SECTIONS)
