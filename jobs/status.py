"""Status: where every stage of a store stands: complete, running (whose, how far) or interrupted; rows, errors, time; newest first.

On this machine:    python jobs/status.py --store FOLDER
On a cluster:       ray job submit --working-dir . -- python jobs/status.py --store s3://bucket/store
"""

from musicrec.config.jobs import StatusConfig
from musicrec.runtime.job import run_job


def main(config):
    from musicrec.inspection.status import show_status
    from musicrec.storage.store import Store

    show_status(Store(config.store))


if __name__ == "__main__":
    run_job(__doc__, main, kind=StatusConfig, default=StatusConfig())
