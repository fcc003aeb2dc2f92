"""Tune: search for better settings of a submodel, a stack or the ensemble ("recommendation").

On this machine:    python jobs/tune.py --submodel mel.time --space tune/spaces/time.yaml
On a cluster:       ray job submit --working-dir . -- python jobs/tune.py --submodel mel.time
                    --space tune/spaces/time.yaml --store s3://bucket/store

The winner is written as a preset for jobs/retrain.py. The same command continues an interrupted
search. The test split takes no part in it.
"""

import sys
from pathlib import Path

from musicrec.config.jobs import TuneConfig
from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = ("train", "ensemble", "embed", "extract", "catalog_rules", "registry", "lock", "ray")


def main(config):
    # The root of the repository: the package tune has the same name as this file.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from tune.search import search

    search(config)


if __name__ == "__main__":
    run_job(__doc__, main, kind=TuneConfig, sections=SECTIONS)
