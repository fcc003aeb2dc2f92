"""Score: what each part of a recommender brings on a catalog, over artist splits (Markdown, CSV).

On this machine:    python jobs/score.py --catalog FOLDER
On a cluster:       ray job submit --working-dir . -- python jobs/score.py --preset best
                    --catalog s3://bucket/catalog --store s3://bucket/store

The rungs are chance, popularity, ridge and nearest neighbours on clip statistics, the ensemble by
the thesis' rules, and that of the configuration without and with the other members of its ranking.
Each is compared with the best one before it, artist by artist.
"""

from musicrec.config.jobs import ScoreConfig
from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = (
    "train",
    "ensemble",
    "ranking",
    "extract",
    "embed",
    "evaluate",
    "catalog_rules",
    "registry",
    "lock",
    "ray",
)


def main(config):
    from musicrec.studies.ladder import score

    score(config)


if __name__ == "__main__":
    run_job(__doc__, main, kind=ScoreConfig, sections=SECTIONS)
