"""Evaluate: score submodels, ensemble and baselines on artists that no model was trained on.

On this machine:    python jobs/evaluate.py --catalog FOLDER
On a cluster:       ray job submit --working-dir . -- python jobs/evaluate.py
                    --catalog s3://bucket/catalog --store s3://bucket/store
"""

from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = (
    "evaluate",
    "ensemble",
    "ranking",
    "train",
    "embed",
    "extract",
    "catalog_rules",
    "registry",
    "lock",
    "ray",
)


def main(config):
    from musicrec.pipeline.retrain import evaluate_run
    from musicrec.pipeline.summary import print_results

    print_results(evaluate_run(config))


if __name__ == "__main__":
    run_job(__doc__, main, sections=SECTIONS)
