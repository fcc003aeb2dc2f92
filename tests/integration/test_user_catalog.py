"""A user's folder with mistakes in it: one line for each, exit code 2, and nothing is started for
it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from small_catalog import UserCatalog, files_under
from small_run import run_job_process

SECONDS_TO_ANSWER = 60  # a bound against a run that starts after all: the answer takes some two seconds on a free machine


def with_mistakes(catalog: UserCatalog) -> UserCatalog:
    tracks, artists, related = catalog.tracks, catalog.artists, catalog.related
    tracks[1]["track_id"] = tracks[0]["track_id"]
    tracks[2]["year"] = "nineteen"
    tracks[3]["year"] = "20199"
    tracks[4]["audio"] = ""
    tracks[5]["audio"] = "../elsewhere/track.mp3"
    tracks[6]["audio"] = "audio\\track.mp3"
    tracks[7]["split"] = "testing"
    tracks[9]["split"] = "test"  # its artist's other track is in train
    artists[0]["latitude"] = "91"
    artists[2]["longitude"] = ""
    artists[3]["artist_id"] = artists[0]["artist_id"]
    related[0]["related_artist_id"] = related[0]["artist_id"]
    related[5]["rank"] = related[4]["rank"]
    return catalog


MISTAKES = {
    "a track twice": "error: tracks row 2, track_id 'organ-0-0': duplicate track; row 1 has the same value: give each track its own id",
    "a year in words": "error: tracks row 3, year 'nineteen': not a whole number; write it as 1998 (or leave it empty)",
    "a year to come": "error: tracks row 4, year '20199': out of range; it must be from 900 to 2100 (leave it empty if unknown)",
    "no audio": "error: tracks row 5, audio: empty cell; every row needs one",
    "outside": "error: tracks row 6, audio '../elsewhere/track.mp3': outside the catalog's root; move the file under ",
    "backslash": "error: tracks row 7, audio 'audio\\\\track.mp3': backslash in a path; write it relative to the catalog's root with /",
    "a split that is none": "error: tracks row 8, split 'testing': unknown split; use train, validation or test",
    "an artist in two splits": "error: tracks row 10, artist_id 'fiddle-0': artist in two splits; test here, train in row 9: assign ",
    "off the globe": "error: artists row 1, latitude '91': out of range; it must be from -90 to 90 (leave it empty if unknown)",
    "half a place": "error: artists row 3, latitude '45.6': without longitude; give both or neither",
    "an artist twice": "error: artists row 4, artist_id 'organ-0': duplicate artist; row 1 has the same value: keep one row for each artist",
    "its own relative": "error: related row 1, related_artist_id 'organ-0': an artist related to itself; remove the row",
    "a rank twice": "error: related row 6, rank '1': duplicate rank; row 5 has the same value: number an artist's related artists ",
}


def test_each_mistake_in_a_catalog_is_one_line(
    catalog_of_users: UserCatalog, tmp_path: Path
) -> None:
    folder = with_mistakes(catalog_of_users.copy()).write(str(tmp_path / "catalog"))
    finished, seconds = started(tmp_path, "--catalog", folder)
    said = finished.stderr.splitlines()
    assert finished.returncode == 2, finished.stderr
    assert "Traceback" not in finished.stderr
    assert said[0] == "error: the catalog cannot be used (row 1 is the first below the header):"
    for mistake, line in MISTAKES.items():
        assert len([one for one in said if one.startswith(line)]) == 1, (
            f"{mistake}: {line!r} is not among\n{finished.stderr}"
        )
    assert len([line for line in said if line.startswith("error: ")]) == 1 + len(MISTAKES)
    assert seconds < SECONDS_TO_ANSWER


def started(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """A retrain of this catalog with the presets' own configuration; asserts that it neither
    started Ray nor wrote to its store."""
    ray_folder = tmp_path / "ray"
    ray_folder.mkdir()
    begun = time.monotonic()
    finished = run_job_process(
        "retrain",
        "--store",
        str(tmp_path / "store"),
        *arguments,
        timeout=2 * SECONDS_TO_ANSWER,
        RAY_TMPDIR=str(ray_folder),
    )
    assert (
        list(ray_folder.iterdir()) == []
    )  # where a Ray of this process would have kept its session
    assert files_under(str(tmp_path / "store")) == {}
    return finished, time.monotonic() - begun
