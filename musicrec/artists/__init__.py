"""Artist embeddings from related artists (thesis section 4), and their neighbours."""
