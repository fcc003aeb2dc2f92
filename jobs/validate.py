"""Validate: check a catalog against the rules, one line per violation with row, value and fix.

On this machine:    python jobs/validate.py --catalog FOLDER
On a cluster:       ray job submit --working-dir . -- python jobs/validate.py
                    --catalog s3://bucket/catalog
A published set:    python jobs/validate.py --preset thesis-fma-medium --catalog FOLDER
"""

from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = ("catalog_rules", "lock", "ray")


def main(config):
    from musicrec.pipeline.catalog import report_catalog

    report_catalog(config)


if __name__ == "__main__":
    run_job(__doc__, main, sections=SECTIONS)
