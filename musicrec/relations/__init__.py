"""Related artists, albums or tracks from plays, playlists and published similarities."""
