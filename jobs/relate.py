"""Relate: related artists (albums, tracks) from plays, playlists or published similarities.

On this machine:    python jobs/relate.py --plays plays.csv --out related.csv
On a cluster:       ray job submit --working-dir . -- python jobs/relate.py
                    --plays s3://bucket/plays --out s3://bucket/catalog/related.parquet
                    --store s3://bucket/store

Bad rows become rows of the errors table.
"""

from musicrec.config.jobs import RelateConfig
from musicrec.runtime.job import run_job


def main(config):
    from musicrec.relations.job import relate_job

    relate_job(config)


if __name__ == "__main__":
    run_job(__doc__, main, kind=RelateConfig, default=RelateConfig())
