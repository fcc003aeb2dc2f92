"""Errors: show failed rows by stage and reason, with examples; --out FILE.csv writes all of them.

On this machine:    python jobs/errors.py --store FOLDER
On a cluster:       ray job submit --working-dir . -- python jobs/errors.py
                    --store s3://bucket/store --out s3://bucket/errors.csv

In the CSV, a cell that a spreadsheet would take for a formula begins with an apostrophe.
"""

from musicrec.config.jobs import ErrorsConfig
from musicrec.runtime.job import run_job


def main(config):
    from musicrec.inspection.errors import show_errors
    from musicrec.storage.store import Store

    show_errors(Store(config.store), config.examples, config.out)


if __name__ == "__main__":
    run_job(__doc__, main, kind=ErrorsConfig, default=ErrorsConfig())
