"""Describe artists from the catalog, for the registered model, the report and the summary."""

from __future__ import annotations

from typing import Any

from musicrec.catalog.tables import Catalog


def artist_facts(catalog: Catalog, artist_ids: list[str]) -> list[dict[str, Any]]:
    """Return the catalog's facts about artists, in the order of ``artist_ids``.

    Each row has the columns of ``musicrec.serving.recommender.ARTISTS`` except the vector, and
    ``birth_year``. An artist that the catalog does not list has None for what it does not give.
    """
    listed = {row["artist_id"]: row for row in catalog.artists.to_pylist()}
    years: dict[str, list[int]] = {}
    tracks: dict[str, int] = {}
    for row in catalog.tracks.select(["artist_id", "year"]).to_pylist():
        tracks[row["artist_id"]] = tracks.get(row["artist_id"], 0) + 1
        if row["year"] is not None:
            years.setdefault(row["artist_id"], []).append(row["year"])
    rows = []
    for artist in artist_ids:
        facts = listed.get(artist, {})
        rows.append(
            {
                name: facts.get(name)
                for name in ("name", "genres", "country", "origin", "birth_year")
            }
            | {"artist_id": artist, "tracks": tracks.get(artist, 0)}
            | {
                "first_year": min(years.get(artist, [None])),
                "last_year": max(years.get(artist, [None])),
            }
        )
    return rows
