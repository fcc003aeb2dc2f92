"""Tables keep their content through every format, and values outside the types are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from musicrec.catalog.tables import (
    LONGEST_LINE,
    Catalog,
    CatalogError,
    Problem,
    RawTable,
    fingerprint,
    numbers,
    read_catalog,
    read_raw,
    split_lists,
    typed,
    with_all_artists,
)
from musicrec.schema import ARTISTS, RELATED, TRACKS, SchemaError, conform

LOCAL = fs.LocalFileSystem()


def small_catalog(root: str = "/catalog") -> Catalog:
    tracks = pa.table(
        {
            "track_id": ["t1", "t2", "t3"],
            "artist_id": ["a1", "a2", "a3"],
            "artist": ["Ada", "Ben", None],
            "title": ['Ä, "b"', None, "三味線"],
            "year": pa.array([1720, None, 1998], pa.int32()),
            "audio": ["1.mp3", "2.mp3", "3.mp3"],
            "lyrics": [" first line\nsecond; line ", None, None],
            "genres": [["folk", "dance"], [], ["court"]],
            "split": ["train", "validation", "test"],
        }
    )
    artists = pa.table(
        {
            "artist_id": ["a1", "a2"],
            "latitude": [48.85, None],
            "longitude": [0.1 + 0.2, None],
            "genres": [["folk"], []],
        }
    )
    related = pa.table(
        {"artist_id": ["a1", "a1"], "related_artist_id": ["a2", "x"], "rank": [1, 2]}
    )
    return Catalog(
        root,
        conform(tracks, TRACKS, "tracks"),
        conform(artists, ARTISTS, "artists"),
        conform(related, RELATED, "related"),
    )


def write_csv(catalog: Catalog, folder: Path, encoding: str = "utf-8") -> None:
    """Write the tables as a spreadsheet program does."""
    for name in ("tracks", "artists", "related"):
        frame = getattr(catalog, name).to_pandas()
        if "genres" in frame:
            frame["genres"] = ["; ".join(genres) for genres in frame["genres"]]
        frame.to_csv(folder / f"{name}.csv", index=False, encoding=encoding, lineterminator="\r\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_and_parquet_give_the_same_catalog(tmp_path: Path, encoding: str) -> None:
    catalog = small_catalog()
    catalog = replace(catalog, artists=with_all_artists(catalog.artists, catalog.tracks))
    for folder in ("parquet", "csv"):
        (tmp_path / folder).mkdir()
    for name in ("tracks", "artists", "related"):
        pq.write_table(getattr(catalog, name), tmp_path / f"parquet/{name}.parquet")
    write_csv(catalog, tmp_path / "csv", encoding)
    for folder in (tmp_path / "parquet", tmp_path / "csv"):
        read = read_catalog("/catalog", (LOCAL, str(folder)))
        assert read.tracks.equals(catalog.tracks)
        assert read.artists.equals(catalog.artists)
        assert read.related.equals(catalog.related)
        assert fingerprint(read) == fingerprint(catalog)


def test_fingerprint_ignores_order_and_root_and_covers_every_cell() -> None:
    catalog = small_catalog()
    shuffled = Catalog(
        "s3://elsewhere",
        catalog.tracks.take([2, 0, 1]),
        catalog.artists.take([1, 0]),
        catalog.related.take([1, 0]),
    )
    assert fingerprint(shuffled) == fingerprint(catalog)
    seen = {fingerprint(catalog)}
    for name in ("tracks", "artists", "related"):
        table = getattr(catalog, name)
        for index, field in enumerate(table.schema):
            values = table.column(index).to_pylist()
            values[0] = (
                ["x", "y"]
                if pa.types.is_list(field.type)
                else "x"
                if pa.types.is_string(field.type)
                else 7
            )
            other = table.set_column(index, field, pa.array(values, field.type))
            seen.add(fingerprint(replace(catalog, **{name: other})))
    assert len(seen) == 1 + len(TRACKS) + len(ARTISTS) + len(RELATED)


def test_fingerprint_depends_on_value_boundaries() -> None:
    def with_titles(*titles: str | None) -> str:
        catalog = small_catalog()
        return fingerprint(
            replace(
                catalog,
                tracks=catalog.tracks.set_column(
                    1, TRACKS.field("title"), pa.array(titles, pa.string())
                ),
            )
        )

    texts = [("ab", "c", "d"), ("a", "bc", "d"), ("abcd", None, None), (None, "abcd", None)]
    assert len({with_titles(*titles) for titles in texts}) == len(texts)


def test_fingerprint_spans_parts_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("musicrec.catalog.tables.FINGERPRINT_ROWS", 2)
    catalog = small_catalog()
    assert fingerprint(replace(catalog, tracks=catalog.tracks.take([1, 2, 0]))) == fingerprint(
        catalog
    )


def test_numbers_accept_only_spreadsheet_notation() -> None:
    good = ["1998", "+7", "-3", "1998.0", None]
    bad = [
        "1998.5",
        "1e3",
        "0x10",
        "inf",
        "nan",
        "1,5",
        "",
        "9" * 40,
        "1998-05-01",
        "\uff11\uff19\uff19\uff18",
    ]
    values, wrong = numbers(pa.chunked_array([good + bad], pa.string()), whole=True)
    np.testing.assert_array_equal(values[:5], [1998, 7, -3, 1998, np.nan])
    assert wrong.tolist() == [False] * 5 + [True] * len(bad)
    values, wrong = numbers(
        pa.chunked_array([["-0.5", ".25", "1e-7", "12.", "1e999", "--1", "0.1.2"]]), whole=False
    )
    np.testing.assert_array_equal(values[:4], [-0.5, 0.25, 1e-7, 12])
    assert wrong.tolist() == [False] * 4 + [True] * 3


def test_split_lists_drops_empty_elements() -> None:
    texts = pa.chunked_array([["folk; dance", ";a;;b; ", ";", None], ["one"]], pa.string())
    assert split_lists(texts).to_pylist() == [["folk", "dance"], ["a", "b"], [], [], ["one"]]


def test_typed_names_the_row_of_a_bad_number() -> None:
    table = pa.table(
        {"artist_id": ["a", "b"], "related_artist_id": ["b", "a"], "rank": ["1", "first"]}
    )
    with pytest.raises(SchemaError, match="related row 9, rank 'first': not a number"):
        typed(RawTable(table, np.array([7, 9])), "related")
    with pytest.raises(SchemaError, match="lacks the column 'rank'"):
        typed(RawTable(table.drop_columns(["rank"]), np.array([7, 9])), "related")


def test_artists_with_tracks_only_are_added_once_with_their_name() -> None:
    catalog = small_catalog()
    tracks = pa.concat_tables([catalog.tracks, catalog.tracks])
    artists = with_all_artists(catalog.artists.slice(1, 1), tracks)
    assert artists.schema == ARTISTS
    assert artists.select(["artist_id", "name", "genres"]).to_pylist() == [
        {"artist_id": "a2", "name": None, "genres": []},
        {"artist_id": "a1", "name": "Ada", "genres": []},
        {"artist_id": "a3", "name": None, "genres": []},
    ]


def test_missing_and_unreadable_tables_are_named_together(tmp_path: Path) -> None:
    (tmp_path / "related.parquet").write_bytes(
        b"PAR1 is how a Parquet file begins, and not how it goes on PAR1"
    )
    with pytest.raises(CatalogError) as error:
        read_catalog(str(tmp_path), (LOCAL, str(tmp_path)))
    lines = [str(problem) for problem in error.value.problems]
    assert (
        lines[0] == "error: tracks: missing table; tracks.csv or tracks.parquet "
        "must be in the catalog's root"
    )
    assert lines[1].startswith("error: related: not readable; as Parquet: ")


@pytest.mark.parametrize(
    ("column", "values", "fix"),
    [
        (
            "year",
            pa.array([{"of": 1}]),
            "column 'year' is struct<of: int64>: write it as text, numbers or lists of text",
        ),
        (
            "audio",
            pa.ExtensionArray.from_storage(pa.opaque(pa.binary(), "pickle", "x"), pa.array([b"x"])),
            "column 'audio' is extension",
        ),
        (
            "genres",
            pa.array([["a", None]]),
            "column 'genres' has lists with missing elements: remove those elements",
        ),
    ],
)
def test_parquet_columns_of_other_kinds_are_refused(
    tmp_path: Path, column: str, values: pa.Array, fix: str
) -> None:
    table = pa.table({"track_id": ["t"], "artist_id": ["a"]}).append_column(column, values)
    pq.write_table(table, tmp_path / "tracks.parquet")
    (problem,) = read_raw(str(tmp_path), (LOCAL, str(tmp_path))).problems
    assert problem.fix.startswith(f"as Parquet: {fix}")


WIDE = b"track_id,artist_id,audio" + b"".join(b",c%d" % number for number in range(120_000))


@pytest.mark.parametrize(
    ("content", "fix"),
    [
        (WIDE, "has at least 10,949 columns; the limit is 200"),  # 870 KB
        (b"," * 300 + b"\n", "has 301 columns; the limit is 200"),
        (b"a,b," + b"x" * 870_000 + b"\n1,2,3\n", "its header, has more than 64 KiB"),
        (b'"' + b"x\n" * 40_000 + b'",' + WIDE, "its header, has more than 64 KiB"),
        (b"x" * 33_000_000, "its header, has more than 64 KiB"),
    ],
)
def test_a_long_header_is_refused_before_it_is_parsed(
    tmp_path: Path, content: bytes, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("pyarrow.csv.read_csv")
    (tmp_path / "tracks.csv").write_bytes(content)
    (problem,) = read_raw(str(tmp_path), (LOCAL, str(tmp_path))).problems
    assert str(problem).startswith("error: tracks: not readable; the first line of tracks.csv")
    assert fix in problem.fix


def test_a_parquet_file_of_many_columns_is_refused(tmp_path: Path) -> None:
    columns = {f"c{number}": [1] for number in range(2_000)}
    pq.write_table(pa.table({"track_id": ["t"], **columns}), tmp_path / "tracks.parquet")
    (problem,) = read_raw(str(tmp_path), (LOCAL, str(tmp_path))).problems
    assert problem.fix == "as Parquet: it has 2001 columns; the limit is 200"


def test_parquet_that_declares_too_many_rows_is_not_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musicrec.catalog.bounded.PARQUET_ROWS", 10)
    pq.write_table(pa.table({"track_id": ["t"] * 11}), tmp_path / "tracks.parquet")
    (problem,) = read_raw(str(tmp_path), (LOCAL, str(tmp_path))).problems
    assert (
        str(problem)
        == "error: tracks: not readable; as Parquet: it declares 11 rows; the limit is 10"
    )


def test_parquet_text_that_is_not_utf8_names_its_row(tmp_path: Path) -> None:
    wrong = pa.Array.from_buffers(
        pa.string(), 2, pa.array([b"good", b"b\xe9"], pa.binary()).buffers()
    )
    pq.write_table(pa.table({"track_id": wrong}), tmp_path / "tracks.parquet")
    (problem,) = read_raw(str(tmp_path), (LOCAL, str(tmp_path))).problems
    assert (problem.row, problem.column, problem.value, problem.rule) == (
        2,
        "track_id",
        "b\ufffd",
        "not UTF-8",
    )


def test_a_problem_is_a_short_line_for_any_column_name() -> None:
    line = str(Problem("tracks", 3, "\x00" * 10_000, None, "unknown column", "leave it out"))
    assert line.startswith(r"error: tracks row 3, \x00\x00")
    assert len(line) == LONGEST_LINE + len("...")
