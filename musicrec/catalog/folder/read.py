"""Make the tables of a catalog from a folder of audio files, by their tags and places."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pyarrow import fs

from musicrec.catalog.folder.tags import Tags, read_tags
from musicrec.catalog.tables import LIST_SEPARATOR, Problem, RawCatalog, RawTable, limited, read_raw
from musicrec.telemetry.progress import event

AUDIO = ("mp3", "flac", "ogg", "oga", "opus", "wav", "aif", "aiff", "m4a", "mp4", "aac")
COVERS = tuple(f"{name}.{end}" for name in ("cover", "folder", "front") for end in ("jpg", "png"))
# Album artists that are none; the last is MusicBrainz' id of "Various Artists".
VARIOUS = ("various artists", "various", "va", "89ad4ac3-39f7-470e-963a-56509c546377")
THREADS = 16  # they wait for the storage
NO_ARTIST = "give it a tag of its artist, or move it into ARTIST/ALBUM/"


@dataclass(frozen=True)
class Track:
    """A file of the folder: its path relative to the root, tags, and names by its place."""

    path: str
    tags: Tags
    picture: str | None

    @property
    def folders(self) -> list[str]:
        """The folders of the file; the artist's and the album's are the last two."""
        return self.path.split("/")[:-1]

    @property
    def artist(self) -> tuple[str | None, str | None]:
        """The artist's name and MusicBrainz id: album artist, artist, or the artist's folder."""
        tags = self.tags
        is_same = (
            tags.artist and tags.album_artist and _plain(tags.artist) == _plain(tags.album_artist)
        )
        mbid = tags.album_artist_mbid or (tags.artist_mbid if is_same else None)
        names = ((tags.album_artist, mbid), (tags.artist, tags.artist_mbid))
        for name, mbid in names:
            if name and name.casefold() not in VARIOUS and mbid not in VARIOUS:
                return name, mbid
        folders = self.folders
        return (folders[max(0, len(folders) - 2)] if folders else None), None

    @property
    def album(self) -> str | None:
        """The album's title, or the name of its folder."""
        return self.tags.album or (self.folders[-1] if len(self.folders) > 1 else None)

    @property
    def title(self) -> str:
        """The title, or the file's name without its number."""
        stem = self.path.rpartition("/")[2].rpartition(".")[0]
        return self.tags.title or re.sub(r"^\d{1,3}[\s._-]+(?=\S)", "", stem)

    @property
    def lacks_tags(self) -> bool:
        """Whether names of folders or of the file stand for missing tags."""
        return not (self.tags.title and (self.tags.artist or self.tags.album_artist))


def read_folder(
    root: str,
    filesystem: tuple[fs.FileSystem, str],
    keep_picture: Callable[[str, bytes], str] | None = None,
) -> RawCatalog:
    """Return the tables of a folder as text: a track for each audio file, in the order of paths.

    A table ``related`` in the folder is read as it is. A file without an artist is left out, with a
    warning.

    Ids do not depend on the root's name: a track's is the MusicBrainz id of the track on its
    release, or the path below the root; an artist's is the MusicBrainz id, or the name in lower
    case; files of an artist without the id get that of its other files.

    Parameters
    ----------
    keep_picture
        Called with the SHA-256 and the bytes of each embedded picture; returns its URI. Embedded
        pictures are left out if not given.

    Raises
    ------
    OSError
        The storage does not answer.
    """
    store, base = filesystem
    infos = store.get_file_info(fs.FileSelector(base, recursive=True, allow_not_found=True))
    files = {info.path.removeprefix(f"{base}/") for info in infos if info.type == fs.FileType.File}
    audio = sorted(path for path in files if _is_audio(path))

    def read(path: str) -> Track:
        with store.open_input_file(f"{base}/{path}") as stream:
            tags = read_tags(stream, path.rpartition("/")[2])
        picture, found = None, tags.picture
        if found is not None and keep_picture is not None:
            picture = keep_picture(hashlib.sha256(found).hexdigest(), found)
        # The bytes of a picture may be megabytes for each file.
        without = dataclasses.replace(tags, picture=None)
        return Track(path, without, picture or _cover(path, files))

    with ThreadPoolExecutor(THREADS) as pool:
        tracks = list(pool.map(read, audio))
    without = [track.path for track in tracks if track.artist[0] is None]
    problems = [
        Problem("tracks", None, "artist", path, "no artist: left out", NO_ARTIST, "warning")
        for path in without
    ]
    untagged = [track.path for track in tracks if track.lacks_tags]
    if untagged:
        message = "files without tags of artist or title: the names of their folders are used"
        event("catalog", message, files=len(untagged), first=untagged[:3])
    tracks = [track for track in tracks if track.artist[0] is not None]
    other = read_raw(root, filesystem)
    tables = {"tracks": _track_rows(tracks)} if tracks else {}
    if tracks:
        tables["artists"] = _artist_rows(tables["tracks"])
    if "related" in other.tables:
        tables["related"] = other.tables["related"]
    problems = limited(problems, len(problems))
    problems += [problem for problem in other.problems if problem.table == "related"]
    if not tracks:
        fix = f"it must hold files that end in {', '.join(AUDIO)}"
        rule = "no audio file that can be used"
        problems.append(Problem("folder", None, None, root, rule, fix))
    return RawCatalog(root, tables, tuple(problems))


def _is_audio(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.lower().endswith(tuple(f".{end}" for end in AUDIO)) and not name.startswith(".")


def _cover(path: str, files: set[str]) -> str | None:
    folder = path.rpartition("/")[0]
    names = [f"{folder}/{name}" if folder else name for name in COVERS]
    return next((name for name in names if name in files), None)


def _plain(name: str) -> str:
    """Return a name in the form in which equal names are equal."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _artist_ids(tracks: list[Track]) -> list[str]:
    """Return the id of each track's artist."""
    mbids: dict[str, set[str]] = {}
    for name, mbid in (track.artist for track in tracks):
        mbids.setdefault(_plain(name), set()).update({mbid} - {None})
    ids = []
    for name, mbid in (track.artist for track in tracks):
        plain = _plain(name)
        same = mbids[plain]
        ids.append(mbid or (next(iter(same)) if len(same) == 1 else plain))
    return ids


def _track_rows(tracks: list[Track]) -> RawTable:
    counts = Counter(track.tags.track_mbid for track in tracks)
    ids = [
        track.tags.track_mbid if counts[track.tags.track_mbid] == 1 else None for track in tracks
    ]
    artists = _artist_ids(tracks)
    albums = [
        track.tags.album_mbid or (f"{artist}/{_plain(track.album)}" if track.album else None)
        for track, artist in zip(tracks, artists, strict=True)
    ]
    columns = {
        "track_id": [mbid or track.path for mbid, track in zip(ids, tracks, strict=True)],
        "title": [track.title for track in tracks],
        "artist_id": artists,
        "artist": [track.artist[0] for track in tracks],
        "album_id": albums,
        "album": [track.album for track in tracks],
        "year": [track.tags.year and str(track.tags.year) for track in tracks],
        "audio": [track.path for track in tracks],
        "artwork": [track.picture for track in tracks],
        "lyrics": [track.tags.lyrics for track in tracks],
        "language": [track.tags.language for track in tracks],
        "genres": [LIST_SEPARATOR.join(track.tags.genres) or None for track in tracks],
    }
    return RawTable.of_texts(columns, range(1, len(tracks) + 1))


def _artist_rows(tracks: RawTable) -> RawTable:
    """Make one row for each artist, with its first name and the genres of its tracks."""
    names: dict[str, str] = {}
    genres: dict[str, dict[str, None]] = {}
    cells = tracks.columns.select(["artist_id", "artist", "genres"]).to_pydict()
    for artist, name, listed in zip(*cells.values(), strict=True):
        names.setdefault(artist, name)
        own = genres.setdefault(artist, {})
        own.update(dict.fromkeys(listed.split(LIST_SEPARATOR) if listed else ()))
    columns = {
        "artist_id": names,
        "name": names.values(),
        "genres": [LIST_SEPARATOR.join(own) or None for own in genres.values()],
    }
    return RawTable.of_texts(columns, range(1, len(names) + 1))
