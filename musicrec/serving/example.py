"""One request with every input: the registered model's example, and what compiles its kernels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from musicrec.config.inputs import FIELDS, RECORDING, fields_of_kind

SAMPLE_RATE, SECONDS = 22_050, 2


def example_row() -> dict[str, Any]:
    """Return a row of a request: two seconds of a sine tone and a picture of one color."""
    import soundfile
    from PIL import Image

    sound, picture = io.BytesIO(), io.BytesIO()
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE)
    soundfile.write(sound, tone, SAMPLE_RATE, format="FLAC")
    Image.new("RGB", (64, 64), (120, 40, 160)).save(picture, format="PNG")
    picture_or_sound = {RECORDING: sound.getvalue()}
    values: dict[str, Any] = {}
    for name in fields_of_kind("file"):
        values |= {name: picture_or_sound.get(name, picture.getvalue()), f"{name}_uri": ""}
    return values | {name: field.example for name, field in FIELDS.items() if name not in values}
