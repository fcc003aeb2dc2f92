"""Recommend: find the artists nearest to a track, with the registered champion.

One file, printed:  python jobs/recommend.py --audio FILE [--lyrics TEXT] [--artwork FILE]
                    [--year 1791] [--latitude 48.2 --longitude 16.4]
A folder of files:  python jobs/recommend.py --folder FOLDER --out recommendations
A catalog's tracks: python jobs/recommend.py --catalog FOLDER --out recommendations
On a cluster:       ray job submit --working-dir . -- python jobs/recommend.py
                    --catalog s3://b/c --store s3://b/s --out s3://b/recommendations

For many tracks, recommendations/ in the folder --out is a Parquet data set (query, rank, artist_id,
similarity, prior), and errors.parquet has a row for each track without recommendations. The same
command continues an interrupted run, and does nothing when it is complete.
"""

from musicrec.config.jobs import RecommendConfig
from musicrec.runtime.job import run_job

# The most used first.
SECTIONS = ("registry", "ray")


def main(config):
    from musicrec.pipeline.recommend import recommend_many, recommend_one

    if config.audio is not None:
        recommend_one(config)
    else:
        recommend_many(config)


if __name__ == "__main__":
    run_job(__doc__, main, kind=RecommendConfig, default=RecommendConfig(), sections=SECTIONS)
