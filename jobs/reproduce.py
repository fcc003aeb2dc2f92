"""Reproduce: rerun a table of the thesis on its data set and compare results (Markdown and CSV).

On this machine:    python jobs/reproduce.py --table 3 --catalog FMA_FOLDER
On a cluster:       ray job submit --working-dir . -- python jobs/reproduce.py --table 3
                    --catalog s3://bucket/fma --store s3://bucket/store

--table 3    one genre, FMA medium      --table 5    many genres, FMA large
--table 4    CIFAR-100                  --table 6    artist embeddings, a catalog in the WebAPI form
--counts     compare parameter counts; exit code 1 if one differs
"""

import sys

from musicrec.config.jobs import ReproduceConfig
from musicrec.config.load import with_preset_of
from musicrec.runtime.job import run_job

PRESETS = {
    "3": "thesis-fma-medium",
    "4": "thesis-cifar100",
    "5": "thesis-fma-large",
    "6": "thesis-webapi",
}

# The most used first.
SECTIONS = (
    "train",
    "ensemble",
    "embed",
    "extract",
    "evaluate",
    "catalog_rules",
    "registry",
    "lock",
    "ray",
)


def main(config):
    if config.counts:
        from musicrec.studies.counts import print_counts

        raise SystemExit(0 if print_counts() else 1)
    from musicrec.studies.reproduce import reproduce

    reproduce(config)


if __name__ == "__main__":
    run_job(
        __doc__,
        main,
        with_preset_of("--table", PRESETS, sys.argv[1:]),
        kind=ReproduceConfig,
        sections=SECTIONS,
    )
