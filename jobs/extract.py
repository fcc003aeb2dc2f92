"""Extract: audio to spectral features and artwork to pictures, as Parquet blocks in the store; broken input to the errors table.

On this machine:    python jobs/extract.py --catalog FOLDER
On a cluster:       ray job submit --working-dir . -- python jobs/extract.py --catalog s3://bucket/catalog --store s3://bucket/store
"""

from musicrec.runtime.job import run_job


def main(config):
    from musicrec.pipeline.catalog import open_run
    from musicrec.pipeline.extract import extract

    extract(open_run(config))


if __name__ == "__main__":
    run_job(__doc__, main)
