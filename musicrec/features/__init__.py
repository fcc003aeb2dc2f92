"""What is stored per track: feature columns, their codec, artwork, lyrics, standardisation."""
