"""Embed artists: learn one vector per artist from related artists, the target of every submodel.

On this machine:    python jobs/embed_artists.py --catalog FOLDER
On a cluster:       ray job submit --working-dir . -- python jobs/embed_artists.py
                    --catalog s3://bucket/catalog --store s3://bucket/store
"""

from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = ("embed", "catalog_rules", "relations", "lock", "ray")


def main(config):
    from musicrec.pipeline.catalog import open_run
    from musicrec.pipeline.embed import embed

    embed(open_run(config))


if __name__ == "__main__":
    run_job(__doc__, main, sections=SECTIONS)
