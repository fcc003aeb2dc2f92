"""Status: show every stage of a store: complete, running (by which run, how far) or interrupted.

On this machine:    python jobs/status.py --store FOLDER
On a cluster:       ray job submit --working-dir . -- python jobs/status.py --store s3://bucket/store

Newest first, with rows, errors and duration.
"""

from musicrec.config.jobs import StatusConfig
from musicrec.runtime.job import run_job


def main(config):
    from musicrec.inspection.status import show_status
    from musicrec.storage.store import Store

    show_status(Store(config.store))


if __name__ == "__main__":
    run_job(__doc__, main, kind=StatusConfig, default=StatusConfig())
