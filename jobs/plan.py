"""Plan: estimate time, storage and cost of a run from a sample that is read and timed (a dry run).

On this machine:    python jobs/plan.py --catalog FOLDER --price-cpu-hour 0.05
On a cluster:       ray job submit --working-dir . -- python jobs/plan.py
                    --catalog s3://bucket/catalog --store s3://bucket/store

Writes nothing of the run itself. Give the preset and the overrides of the run to be estimated.
"""

from musicrec.config.jobs import PlanConfig
from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = ("extract", "train", "catalog_rules", "embed", "ensemble", "lock", "ray")


def main(config):
    from musicrec.dry_run.run import plan, show_plan
    from musicrec.pipeline.catalog import open_run
    from musicrec.pipeline.preflight import fit_to_catalog

    show_plan(plan(fit_to_catalog(open_run(config)), config))


if __name__ == "__main__":
    run_job(__doc__, main, kind=PlanConfig, sections=SECTIONS)
