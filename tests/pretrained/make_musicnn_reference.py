"""Write musicnn_reference.json: the original network's penultimate layer for the clips.

It needs TensorFlow, so it runs in an environment of its own, with the folder of the package
``musicnn`` 0.1.0 and the spectrograms (``log_mel`` of each clip, one .npy with its name)::

    pip install tensorflow-cpu tf_keras  # 2.21
    python make_musicnn_reference.py SITE_PACKAGES SPECTROGRAMS
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

FRAMES, BANDS, TAGS = 187, 96, 50


def main(packages: Path, spectrograms: Path) -> None:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # the layers of TensorFlow 1
    sys.path.append(str(packages))
    import tensorflow as tf
    from musicnn import models

    tf.compat.v1.disable_eager_execution()
    with tf.name_scope("model"):
        x = tf.compat.v1.placeholder(tf.float32, [None, FRAMES, BANDS])
        is_training = tf.compat.v1.placeholder(tf.bool)
        *_, penultimate = models.define_model(x, is_training, "MSD_musicnn", TAGS)
    session = tf.compat.v1.Session()
    tf.compat.v1.train.Saver().restore(session, str(packages / "musicnn" / "MSD_musicnn") + "/")
    answers = {}
    for path in sorted(spectrograms.glob("*.npy")):
        frames = np.load(path)
        count = len(frames) // FRAMES
        batch = frames[: count * FRAMES].reshape(count, FRAMES, BANDS)
        vectors = session.run(penultimate, {x: batch, is_training: False})
        answers[path.stem] = np.round(vectors.astype(float), 5).tolist()
    target = Path(__file__).with_name("musicnn_reference.json")
    target.write_text(json.dumps(answers) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
