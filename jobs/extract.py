"""Extract: audio to spectral features and artwork to images, as Parquet blocks in the store.

On this machine:    python jobs/extract.py --catalog FOLDER
On a cluster:       ray job submit --working-dir . -- python jobs/extract.py
                    --catalog s3://bucket/catalog --store s3://bucket/store

Broken input becomes rows of the errors table.
"""

from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = ("extract", "catalog_rules", "lock", "ray")


def main(config):
    from musicrec.pipeline.catalog import open_run
    from musicrec.pipeline.extract import extract

    extract(open_run(config))


if __name__ == "__main__":
    run_job(__doc__, main, sections=SECTIONS)
