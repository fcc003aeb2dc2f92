"""Artist embeddings from related artists (Whitell 2019), and their neighbours."""
