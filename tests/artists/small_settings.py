"""Settings by which a few hundred artists are embedded in seconds."""

from __future__ import annotations

from musicrec.artists.settings import EmbeddingSettings, Stage

FULL_BATCH = EmbeddingSettings(
    dimensions=32,
    full_batch=True,
    select_by="jaccard",
    stages=(Stage(learning_rate=3e-2, artists_per_step=1, patience=60, maximum_passes=400),),
)
CONTRASTIVE = EmbeddingSettings(
    dimensions=32,
    objective="contrastive",
    uniform_negatives=64,
    select_by="jaccard",
    lazy=True,
    stages=(Stage(learning_rate=1e-2, artists_per_step=64, patience=60, maximum_passes=12),),
)
