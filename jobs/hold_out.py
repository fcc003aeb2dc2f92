"""Hold out: compare embeddings with and without the test artists' relations, over seeds (Markdown).

On this machine:    python jobs/hold_out.py --catalog FOLDER
On a cluster:       ray job submit --working-dir . -- python jobs/hold_out.py
                    --catalog s3://bucket/catalog --store s3://bucket/store
"""

from musicrec.config.jobs import HoldOutConfig
from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = (
    "embed",
    "train",
    "ensemble",
    "ranking",
    "extract",
    "evaluate",
    "catalog_rules",
    "registry",
    "lock",
    "ray",
)


def main(config):
    from musicrec.studies.held_out_relations import hold_out

    hold_out(config)


if __name__ == "__main__":
    run_job(__doc__, main, kind=HoldOutConfig, sections=SECTIONS)
