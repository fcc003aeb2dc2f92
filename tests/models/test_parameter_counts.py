"""Every parameter count of the thesis' tables, exactly; models are built on the meta device."""

from __future__ import annotations

import pytest
import torch

from musicrec.models import VARIANTS, build_model, build_stack, count_parameters
from musicrec.models.stacks import GENRE_SUBMODELS
from musicrec.studies.counts import Count, model_parameters, parameter_counts


@pytest.mark.parametrize(
    "count", parameter_counts(), ids=lambda count: f"{count.table}-{count.published.model}"
)
def test_the_thesis_count(count: Count) -> None:
    assert count.ours == count.published.parameters


def test_no_architecture_goes_uncounted() -> None:
    counted = {count.published.model for count in parameter_counts()}
    features = ("stft", "stft_halved", "mel", "cqt", "chroma", "mfcc", "cifar")
    assert counted >= {
        f"{feature}.{architecture}"
        for feature in features
        for architecture in ("simple", "time", "freq", "time_freq")
    }
    assert counted >= {
        "chroma.rnn",
        "mfcc.rnn",
        "chroma.large_rnn",
        "mfcc.large_rnn",
        "lyrics",
        "albums",
        "genre_ensemble",
    }
    assert sum(name == "recommendation" or name.startswith("by_") for name in counted) == len(
        VARIANTS
    )


def test_genre_ensemble_reads_three_times_three_frequencies_and_two_recurrent_networks() -> None:
    assert [name.split(".")[1] for name in GENRE_SUBMODELS] == ["time"] * 3 + ["freq"] * 3 + [
        "rnn"
    ] * 2
    with torch.device("meta"):
        own = count_parameters(build_stack("genre_ensemble", 16))
    assert own + sum(model_parameters(name, 16) for name in GENRE_SUBMODELS) == 3_157_406


def test_counter_of_batches_is_not_counted() -> None:
    norm = torch.nn.BatchNorm2d(5)
    assert count_parameters(norm) == 20
    assert sum(buffer.numel() for buffer in norm.buffers()) == 11


def test_the_layers_of_a_vector() -> None:
    model = build_model("mlp", "statistics", 32, inputs=2123, hidden=(256, 64))
    assert count_parameters(model) == 2124 * 256 + 257 * 64 + 65 * 32
