"""Tune: search for better settings of one submodel, stack or the ensemble ("recommendation"); the winner is a preset for jobs/retrain.py.

On this machine:    python jobs/tune.py --submodel mel.time --space tune/spaces/time.yaml
On a cluster:       ray job submit --working-dir . -- python jobs/tune.py --submodel mel.time --space tune/spaces/time.yaml --store s3://bucket/store

The same command goes on with a search that was interrupted. The test split takes no part in it.
"""

import sys
from pathlib import Path

from musicrec.config.jobs import TuneConfig
from musicrec.runtime.job import run_job


def main(config):
    sys.path[0] = str(
        Path(__file__).resolve().parents[1]
    )  # of the package tune, whose name this file has too
    from tune.search import search

    search(config)


if __name__ == "__main__":
    run_job(__doc__, main, kind=TuneConfig)
