"""Retrain: from a catalog to a registered recommender, every stage in its order, each skipped where its output is complete.

On this machine:    python jobs/retrain.py
On a cluster:       ray job submit --working-dir . -- python jobs/retrain.py --preset thesis-webapi --catalog s3://b/catalog --store s3://b/store
"""

from musicrec.runtime.job import run_job


def main(config):
    from musicrec.pipeline.retrain import retrain

    done, registered = retrain(config)
    from musicrec.pipeline.summary import print_summary

    print_summary(done, registered)


if __name__ == "__main__":
    run_job(__doc__, main)
