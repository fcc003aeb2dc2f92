"""What is stored of a track: feature columns, their codec, artwork, lyrics, standardisation."""
