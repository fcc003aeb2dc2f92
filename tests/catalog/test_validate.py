"""Typical mistakes in a user's catalog are one clear line each; a valid catalog is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from musicrec.catalog.tables import PROBLEM_LINES, CatalogError, RawCatalog, RawTable
from musicrec.catalog.validate import load_validated, validate
from musicrec.schema import ARTISTS, RELATED, SPLITS, TRACKS

TRACK_HEADER = "track_id,title,artist_id,artist,year,audio,genres,genre_top,split"
TRACK_ROWS = [
    "t1,One,a1,Ada,1998,audio/1.mp3,folk;dance,folk,train",
    "t2,Two,a1,Ada,1999,audio/2.mp3,folk,folk,train",
    "t3,Three,a2,Ben,1720,audio/3.mp3,court,court,validation",
    't4,"Four, or five",a3,Cy,,audio/4.mp3,,,test',
]
ARTIST_ROWS = ["a1,Ada,48.85,2.35,France", "a2,Ben,51.5,-0.13,England", "a3,Cy,,,"]
RELATED_ROWS = ["a1,a2,1", "a1,x9,2", "a2,a3,1", "a3,a1,1"]


def write_tables(
    folder: Path,
    tracks: list[str] = TRACK_ROWS,
    artists: list[str] | None = ARTIST_ROWS,
    related: list[str] | None = RELATED_ROWS,
    header: str = TRACK_HEADER,
) -> Path:
    (folder / "tracks.csv").write_text("\n".join([header, *tracks]) + "\n")
    if artists is not None:
        (folder / "artists.csv").write_text(
            "\n".join(["artist_id,name,latitude,longitude,country", *artists]) + "\n"
        )
    if related is not None:
        (folder / "related.csv").write_text(
            "\n".join(["artist_id,related_artist_id,rank", *related]) + "\n"
        )
    return folder


def load(folder: Path, **options):
    return load_validated(str(folder), (fs.LocalFileSystem(), str(folder)), seed=0, **options)


def lines_of(folder: Path, **options) -> list[str]:
    """Return the lines of the problems, errors and warnings."""
    try:
        return [str(problem) for problem in load(folder, **options)[1]]
    except CatalogError as error:
        lines = [str(problem) for problem in error.problems]
        assert str(error).splitlines()[1:] == lines  # a problem is one line, whatever its value
        return lines


def changed(row: int, old: str, new: str, rows: list[str] = TRACK_ROWS) -> list[str]:
    """Return the rows with one replaced (from 1, as in problems)."""
    assert old in rows[row - 1]
    return [*rows[: row - 1], rows[row - 1].replace(old, new), *rows[row:]]


def test_valid_catalog_has_no_problem_and_the_schema_types(tmp_path: Path) -> None:
    catalog, problems = load(write_tables(tmp_path))
    assert problems == []
    assert (catalog.tracks.schema, catalog.artists.schema, catalog.related.schema) == (
        TRACKS,
        ARTISTS,
        RELATED,
    )
    assert catalog.tracks["genres"].to_pylist() == [["folk", "dance"], ["folk"], ["court"], []]
    assert catalog.tracks["year"].to_pylist() == [1998, 1999, 1720, None]
    assert catalog.tracks["title"][3].as_py() == "Four, or five"
    assert catalog.tracks["lyrics"].null_count == 4
    assert catalog.artists["longitude"].to_pylist() == [2.35, -0.13, None]
    assert catalog.related["rank"].to_pylist() == [1, 2, 1, 1]


TYPICAL_MISTAKES = {
    "year": (
        {"tracks": changed(2, "1999", "19x9")},
        "error: tracks row 2, year '19x9': not a whole number; "
        "write it as 1998 (or leave it empty)",
    ),
    "year out of range": (
        {"tracks": changed(2, "1999", "0")},
        "error: tracks row 2, year '0': out of range; "
        "it must be from 900 to 2100 (leave it empty if unknown)",
    ),
    "duplicate track": (
        {"tracks": changed(4, "t4", "t2")},
        "error: tracks row 4, track_id 't2': duplicate track; row 2 has the same value: "
        "give each track its own id",
    ),
    "duplicate artist": (
        {"artists": [*ARTIST_ROWS, "a2,Benjamin,,,"]},
        "error: artists row 4, artist_id 'a2': duplicate artist; row 2 has the same value: "
        "keep one row for each artist",
    ),
    "artist in two splits": (
        {"tracks": changed(2, "train", "test")},
        "error: tracks row 2, artist_id 'a1': artist in two splits; "
        "test here, train in row 1: assign all tracks of an artist to one split",
    ),
    "unknown split": (
        {"tracks": [*TRACK_ROWS, "t5,,a3,,,audio/5.mp3,,,Test"]},
        "error: tracks row 5, split 'Test': unknown split; use train, validation or test",
    ),
    "empty split cell": (
        {"tracks": [*TRACK_ROWS, "t5,,a3,,,audio/5.mp3,,,"]},
        "error: tracks row 5, split: empty cell; use train, validation or test, "
        "or leave the whole column empty to have splits made",
    ),
    "no track in a split": (
        {"tracks": TRACK_ROWS[:3]},
        "error: tracks, split 'test': no track in a split; assign some artists to it, "
        "or omit the column to have splits made",
    ),
    "empty id": (
        {"tracks": changed(3, "t3", " ")},
        "error: tracks row 3, track_id: empty cell; every row needs one",
    ),
    "empty artist": (
        {"tracks": [*TRACK_ROWS, "t5,,,,,audio/5.mp3,,,test"]},
        "error: tracks row 5, artist_id: empty cell; every row needs one",
    ),
    "missing column": (
        {"header": TRACK_HEADER.replace("track_id", "Track ID")},
        "error: tracks, track_id: missing column; "
        "add it, or rename a column: the table has Track ID, title, artist_id, artist, year, "
        "audio, genres, genre_top, split",
    ),
    "unknown column": (
        {"header": TRACK_HEADER.replace("genres", "Genre")},
        "warning: tracks, Genre: unknown column; did you mean 'genres'? The column is ignored",
    ),
    "latitude off the globe": (
        {"artists": changed(1, "48.85", "98.85", ARTIST_ROWS)},
        "error: artists row 1, latitude '98.85': out of range; "
        "it must be from -90 to 90 (leave it empty if unknown)",
    ),
    "decimal comma": (
        {"artists": changed(1, "48.85", '"48,85"', ARTIST_ROWS)},
        "error: artists row 1, latitude '48,85': not a number; write it with a decimal point, "
        "for example 48.85 (or leave it empty)",
    ),
    "incomplete location": (
        {"artists": changed(2, "-0.13", "", ARTIST_ROWS)},
        "error: artists row 2, latitude '51.5': without longitude; give both or neither",
    ),
    "comma without quotes": (
        {"tracks": changed(4, '"', "")},
        "error: tracks row 4 't4,Four, or five,a3,Cy,,audio/4.mp3,,,test': wrong number of cells; "
        "expected 9 cells, found 10: quote cells that contain a comma",
    ),
    "file outside": (
        {"tracks": changed(1, "audio/1.mp3", "../other/1.mp3")},
        "error: tracks row 1, audio '../other/1.mp3': outside the catalog's root; "
        "move the file under ROOT, or add its folder to catalog_rules.allowed_roots",
    ),
    "backslash": (
        {"tracks": changed(1, "audio/1.mp3", "audio\\1.mp3")},
        r"error: tracks row 1, audio 'audio\\1.mp3': backslash in a path; "
        r"write it relative to the catalog's root with /, for example audio/a.mp3",
    ),
    "quote not closed": (
        {"tracks": changed(2, "t2", '"t2')},
        "error: tracks row 2, track_id "
        "'t2,Two,a1,Ada,1999,audio/2.mp3,folk,folk,train\\nt3,Three,a2,Ben,1720,audio/3.m...': "
        "line break or control character; look for an unclosed double quote before it",
    ),
    "related to itself": (
        {"related": [*RELATED_ROWS, "a2,a2,2"]},
        "error: related row 5, related_artist_id 'a2': an artist related to itself; remove the row",
    ),
    "duplicate relation": (
        {"related": [*RELATED_ROWS, "a1,a2,3"]},
        "error: related row 5, related_artist_id 'a2': duplicate relation; "
        "row 1 has the same value: keep one of the two",
    ),
    "duplicate rank": (
        {"related": [*RELATED_ROWS, "a1,a3,2"]},
        "error: related row 5, rank '2': duplicate rank; row 2 has the same value: "
        "number an artist's related artists 1, 2, 3, ...",
    ),
    "rank from 0": (
        {"related": changed(1, ",1", ",0", RELATED_ROWS)},
        "error: related row 1, rank '0': out of range; it must be from 1 to 2147483647",
    ),
    "no relations": (
        {"related": []},
        "error: related: empty table; it has a header but no rows: add rows",
    ),
    "missing related": (
        {"related": None},
        "error: related: missing table; related.csv or related.parquet must be in the "
        "catalog's root",
    ),
    "missing artists": (
        {"artists": None},
        "warning: artists: missing table; its rows are derived from the tracks, "
        "without country and location",
    ),
    "artist without row": (
        {"artists": ARTIST_ROWS[:2]},
        "warning: tracks row 4, artist_id 'a3': artist not in artists; a row is added, "
        "without country and location",
    ),
    "artist without relations": (
        {"related": RELATED_ROWS[:2]},
        "warning: related 'a3': artists without relations; "
        "1 artists with tracks are in no relation; their neighbours cannot be learned",
    ),
    "genre": (
        {"tracks": changed(2, "folk,folk", "folk,jazz")},
        "warning: tracks row 2, genre_top 'jazz': not among the genres; add it to genres",
    ),
}


@pytest.mark.parametrize("mistake", TYPICAL_MISTAKES)
def test_each_typical_mistake_is_one_line(tmp_path: Path, mistake: str) -> None:
    changes, line = TYPICAL_MISTAKES[mistake]
    lines = lines_of(write_tables(tmp_path, **changes))
    line = line.replace("ROOT", str(tmp_path))
    assert line in lines
    # Other lines may follow from these mistakes; all others give exactly one.
    if mistake not in (
        "missing column",
        "quote not closed",
        "comma without quotes",
        "no relations",
        "incomplete location",
        "no track in a split",
    ):
        assert lines == [line]


def test_all_mistakes_of_a_catalog_are_reported_together(tmp_path: Path) -> None:
    tracks = changed(2, "1999", "none", changed(3, "t3", "t1"))
    artists = changed(1, "48.85", "x", ARTIST_ROWS)
    lines = lines_of(write_tables(tmp_path, tracks, artists, ["a1,a1,0"]))
    errors = [line for line in lines if line.startswith("error")]
    assert [line.split(":")[1].strip().split(",")[0] for line in errors] == [
        "tracks row 2",
        "tracks row 3",
        "artists row 1",
        "related row 1",
        "related row 1",
    ]


def test_many_broken_rows_are_cut_and_counted(tmp_path: Path) -> None:
    tracks = [f"t{i},,a{i % 3},,x,{i}.mp3,,,{SPLITS[i % 3]}" for i in range(500)]
    lines = lines_of(write_tables(tmp_path, tracks, None, ["a0,a1,1", "a1,a2,1"]))
    years = [line for line in lines if ", year" in line]
    assert len(years) == PROBLEM_LINES + 1
    assert years[-1] == "error: tracks, year: not a whole number; ... and 480 more"


def test_rows_keep_their_numbers_after_blank_and_broken_ones(tmp_path: Path) -> None:
    tracks = [TRACK_ROWS[0], "", "too,short", ",,,,,,,,", *TRACK_ROWS[1:]]
    tracks[-1] = 't4,"line one\nline two",a3,Cy,x,audio/4.mp3,,,test'
    lines = lines_of(write_tables(tmp_path, tracks))
    assert lines[0].startswith(
        "error: tracks row 3 'too,short': wrong number of cells; expected 9 cells, found 2"
    )
    assert any(line.startswith("error: tracks row 7, year 'x'") for line in lines)


def test_files_outside_the_root_pass_only_where_allowed(tmp_path: Path) -> None:
    audio = [
        "s3://music/clips/1.mp3",
        "/mnt/music/2.mp3",
        "a/../../3.mp3",
        "a/../4.mp3",
        "s3://music/clips/../5.mp3",
        "file:///mnt/music2/6.mp3",
    ]
    tracks = [f"t{i},,a{i % 3},,,{uri},,,{SPLITS[i % 3]}" for i, uri in enumerate(audio)]
    write_tables(tmp_path, tracks, None, ["a0,a1,1", "a1,a2,1"])

    def refused(**options) -> list[int | None]:
        with pytest.raises(CatalogError) as error:
            load(tmp_path, **options)
        return [
            problem.row
            for problem in error.value.problems
            if problem.rule == "outside the catalog's root"
        ]

    assert refused() == [1, 2, 3, 5, 6]
    assert refused(allowed_roots=("s3://music/clips", "/mnt/music")) == [
        3,
        5,
        6,
    ]  # /mnt/music2 only starts like /mnt/music


def test_root_on_object_storage_holds_its_files_and_no_others() -> None:
    raw_tracks = pa.table(
        {
            "track_id": ["1", "2", "3"],
            "artist_id": ["a", "b", "c"],
            "audio": ["x.mp3", "s3://bucket/catalog/y.mp3", "s3://bucket/catalog2/z.mp3"],
        }
    )
    tables = {"tracks": RawTable(raw_tracks, np.arange(1, 4))}
    rows = [
        p.row
        for p in validate(RawCatalog("s3://bucket/catalog", tables))
        if p.rule == "outside the catalog's root"
    ]
    assert rows == [3]


def test_missing_files_are_warnings_and_looked_up_once(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, changed(2, "audio/2.mp3", "audio/1.mp3"))
    (folder / "audio").mkdir()
    (folder / "audio/4.mp3").write_bytes(b"")
    looked_up = []

    def exists(uri: str) -> bool:
        looked_up.append(uri)
        return Path(uri).is_file()

    _, problems = load(folder, exists=exists)
    assert sorted(looked_up) == [str(folder / f"audio/{i}.mp3") for i in (1, 3, 4)]
    assert [str(problem) for problem in problems] == [
        f"warning: tracks row {row}, audio 'audio/{i}.mp3': file not found; "
        "the track will be a row of the errors table"
        for row, i in ((1, 1), (2, 1), (3, 3))
    ]


def test_absent_splits_are_made_from_the_seed(tmp_path: Path) -> None:
    rows = [",".join(row.split(",")[:-1]) for row in TRACK_ROWS]
    folder = write_tables(tmp_path, rows, header=TRACK_HEADER.removesuffix(",split"))
    catalog, problems = load(folder)
    assert problems == []
    assert set(catalog.tracks["split"].to_pylist()) == set(SPLITS)
    assert catalog.tracks.schema == TRACKS
    rows = [row for row in rows if ",a3," not in row]
    assert (
        "error: tracks, artist_id: too few artists; there are 2; "
        "each of the 3 splits needs at least one"
        in lines_of(write_tables(tmp_path, rows, header=TRACK_HEADER.removesuffix(",split")))
    )


def test_minimal_columns_suffice_and_artists_are_derived(tmp_path: Path) -> None:
    (tmp_path / "tracks.csv").write_text(
        "track_id,artist_id,audio\n" + "".join(f"{i},a{i},{i}.mp3\n" for i in range(3))
    )
    (tmp_path / "related.csv").write_text("artist_id,related_artist_id,rank\na0,a1,1\na1,a2,1\n")
    catalog, problems = load(tmp_path)
    assert [str(problem) for problem in problems] == [TYPICAL_MISTAKES["missing artists"][1]]
    assert catalog.artists["artist_id"].to_pylist() == ["a0", "a1", "a2"]
    assert catalog.tracks["genres"].to_pylist() == [[], [], []]


def test_typed_catalog_obeys_the_same_rules(tmp_path: Path) -> None:
    catalog, _ = load(write_tables(tmp_path))
    assert validate(catalog) == []
    doubled = type(catalog)(
        catalog.root,
        pa.concat_tables([catalog.tracks, catalog.tracks.slice(0, 1)]),
        catalog.artists,
        catalog.related,
    )
    assert [(problem.rule, problem.row) for problem in validate(doubled)] == [
        ("duplicate track", 5)
    ]


def test_parquet_of_pandas_reads_like_csv(tmp_path: Path) -> None:
    expected, _ = load(write_tables(tmp_path))
    frame = expected.tracks.to_pandas()
    assert frame["year"].dtype == np.float64  # an integer column with a null, as pandas has it
    (tmp_path / "tracks.csv").unlink()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "tracks.parquet")
    catalog, problems = load(tmp_path)
    assert problems == []
    assert catalog.tracks.equals(expected.tracks)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "error: tracks: not readable; Empty CSV file"),
        (
            b"\n\n",
            "error: tracks: not readable; the first line must name at most 200 columns; "
            "save it as comma-separated UTF-8",
        ),
        (
            "track_id,audio\n1,2\n".encode("utf-16"),
            "error: tracks: not readable; the first line must name",
        ),
        (
            b"track_id;artist_id\n1;a\n",
            "error: tracks: not readable; its first line is 'track_id;artist_id': "
            "save it with commas",
        ),
        (
            b",".join([b"c"] * 1500) + b"\n",
            "error: tracks: not readable; the first line of tracks.csv has 1,500 columns; ",
        ),
        (
            b"track_id,artist_id,audio,audio\n1,a,x,y\n",
            "error: tracks, audio: column named twice; keep one of the two",
        ),
        (
            b"track_id,artist_id,audio\n1,a\xe9,x\n",
            "error: tracks row 1, artist_id 'a\ufffd': not UTF-8; save the file as UTF-8",
        ),
        (
            b"track_id,audio\n1,a\n2,\xe9,x\n",
            "error: tracks row 2 '2,\ufffd,x': wrong number of cells; expected 2 cells, found 3",
        ),
        (b"\x00\x01\xff" * 5000, "error: tracks"),
        (b"PK\x03\x04" + bytes(range(256)) * 50, "error: tracks"),
    ],
)
def test_hostile_csv_is_reported_and_does_not_crash(
    tmp_path: Path, content: bytes, line: str
) -> None:
    write_tables(tmp_path)
    (tmp_path / "tracks.csv").write_bytes(content)
    assert any(problem.startswith(line) for problem in lines_of(tmp_path))


def test_row_longer_than_the_block_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musicrec.catalog.tables.CSV_BLOCK_BYTES", 1 << 20)
    folder = write_tables(tmp_path, [TRACK_ROWS[0], '"' + "x" * (3 << 20)])
    assert (
        lines_of(folder)[0] == "error: tracks: not readable; a row is longer than 1 MB: "
        "look for an unclosed double quote"
    )


def test_mutated_tables_never_raise_anything_else(tmp_path: Path) -> None:
    folder = write_tables(tmp_path)
    catalog, _ = load(folder)
    pq.write_table(catalog.tracks, tmp_path / "intact.parquet")
    intact = {
        "tracks.csv": (tmp_path / "tracks.csv").read_bytes(),
        "tracks.parquet": (tmp_path / "intact.parquet").read_bytes(),
    }
    random = np.random.default_rng(5)
    refused = 0
    for name, content in intact.items():
        (tmp_path / "tracks.csv").unlink()
        for _ in range(60):
            broken = bytearray(content)
            for place in random.integers(0, len(broken), size=random.integers(1, 8)):
                broken[place] = random.integers(0, 256)
            (tmp_path / name).write_bytes(
                broken[: random.integers(1, len(broken) + 1)] if random.random() < 0.3 else broken
            )
            refused += any(line.startswith("error") for line in lines_of(folder))
        (tmp_path / name).unlink()
        (tmp_path / "tracks.csv").touch()
    assert refused > 80


def test_both_formats_of_a_table_are_refused(tmp_path: Path) -> None:
    catalog, _ = load(write_tables(tmp_path))
    pq.write_table(catalog.tracks, tmp_path / "tracks.parquet")
    assert lines_of(tmp_path) == [
        "error: tracks: not readable; both tracks.parquet and tracks.csv exist: remove one of them"
    ]


def test_import_loads_neither_ray_nor_torch() -> None:
    code = (
        "import sys, musicrec.catalog.validate; print([name for name in ('ray', 'torch', "
        "'pandas', 'mlflow') if name in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
