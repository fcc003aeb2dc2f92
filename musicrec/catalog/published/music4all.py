"""Read Music4All as published.

Santana et al., "Music4All: A New Music Database and Its Applications", IWSSIP 2020. Tab-separated
tables under the catalog's root::

    id_information.csv    id, artist, song, album_name
    id_metadata.csv       id, spotify_id, popularity, release (a year), ...
    id_genres.csv         id, genres: separated by commas
    id_lang.csv           id, lang
    audios/ID.mp3         clips of 30 s
    lyrics/ID.txt

Only the first table and the clips are required. An artist has no id but its name.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pyarrow import fs

from musicrec.catalog.published.tabbed import raw_catalog, read_tabbed
from musicrec.catalog.tables import LIST_SEPARATOR, RawCatalog

THREADS = 16  # they wait for the storage
MAXIMUM_LYRICS_BYTES = 100_000


def read_music4all(root: str, filesystem: tuple[fs.FileSystem, str]) -> RawCatalog:
    """Return the tables of Music4All as text, without splits and without relations.

    Raises
    ------
    OSError
        The storage does not answer.
    """
    songs = read_tabbed(filesystem, "id_information.csv", ("id", "artist", "song", "album_name"))
    metadata = read_tabbed(filesystem, "id_metadata.csv", ("id", "release"), optional=True)
    genres = read_tabbed(filesystem, "id_genres.csv", ("id", "genres"), optional=True)
    languages = read_tabbed(filesystem, "id_lang.csv", ("id", "lang"), optional=True)

    def columns() -> dict[str, list[str | None]]:
        ids, artists = songs.columns["id"], songs.columns["artist"]
        albums = songs.columns["album_name"]
        years, listed = metadata.by("id", "release"), genres.by("id", "genres")
        spoken, lyrics = languages.by("id", "lang"), _lyrics(filesystem, ids)
        return {
            "track_id": ids,
            "title": songs.columns["song"],
            "artist_id": artists,
            "artist": artists,
            "album_id": [
                f"{artist}/{album}" if artist and album else None
                for artist, album in zip(artists, albums, strict=True)
            ],
            "album": albums,
            "year": [years.get(name) for name in ids],
            "audio": [name and f"audios/{name}.mp3" for name in ids],
            "lyrics": [lyrics.get(name) for name in ids],
            "language": [spoken.get(name) for name in ids],
            "genres": [
                LIST_SEPARATOR.join(listed[name].split(",")) if name in listed else None
                for name in ids
            ],
        }

    return raw_catalog(root, (songs, metadata, genres, languages), columns)


def _lyrics(filesystem: tuple[fs.FileSystem, str], ids: list[str | None]) -> dict[str, str]:
    """Return the lyrics of the tracks that have a file of them."""
    store, base = filesystem
    folder = f"{base.rstrip('/')}/lyrics"
    infos = store.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    present = {info.base_name for info in infos if info.is_file}
    wanted = [name for name in ids if name is not None and f"{name}.txt" in present]

    def read(name: str) -> str:
        with store.open_input_stream(f"{folder}/{name}.txt", compression=None) as stream:
            return bytes(stream.read(MAXIMUM_LYRICS_BYTES)).decode("utf-8", "ignore")

    with ThreadPoolExecutor(THREADS) as pool:
        return {
            name: text for name, text in zip(wanted, pool.map(read, wanted), strict=True) if text
        }
