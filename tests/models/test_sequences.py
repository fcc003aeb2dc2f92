"""RNN, LargeRNN and Lyrics: order of time, last output, padding at the front."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from musicrec.models import build_model

SIZES = {"vocabulary": 30, "embedding_size": 6, "hidden": (5, 7, 9)}


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [
        ("rnn", [(12, 256), (256, 256), (256, 256)]),
        ("large_rnn", [(12, 256), (256, 512), (512, 1024)]),
    ],
)
def test_widths_of_the_thesis(architecture: str, layers: list[tuple[int, int]]) -> None:
    with torch.device("meta"):
        model = build_model(architecture, "chroma", 800)
    assert [(layer.input_size, layer.hidden_size) for layer in model.recurrent.layers] == layers


def lstm_by_hand(layer: nn.LSTM, sequence: torch.Tensor) -> torch.Tensor:
    """Map (T, inputs) to (T, hidden) by the equations of an LSTM with a forget gate.

    Source: Hochreiter and Schmidhuber 1997.
    """
    hidden = cell = torch.zeros(layer.hidden_size)
    outputs = []
    for step in sequence:
        gates = (
            layer.weight_ih_l0 @ step
            + layer.bias_ih_l0
            + layer.weight_hh_l0 @ hidden
            + layer.bias_hh_l0
        )
        write, forget, value, read = gates.chunk(4)
        cell = forget.sigmoid() * cell + write.sigmoid() * value.tanh()
        hidden = read.sigmoid() * cell.tanh()
        outputs.append(hidden)
    return torch.stack(outputs)


def test_large_rnn_reads_frames_in_order_and_keeps_the_last_output() -> None:
    model = build_model("large_rnn", "mfcc", 3, hidden=(4, 6))
    clip = torch.randn(1, 1, 12, 20)
    expected = clip[0, 0].T
    for layer in model.recurrent.layers:
        expected = lstm_by_hand(layer, expected)
    torch.testing.assert_close(model(clip)[0], model.head(expected[-1]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["rnn", "large_rnn"])
def test_recurrent_takes_any_length_and_refuses_other_features(architecture: str) -> None:
    model = build_model(architecture, "chroma", 3, hidden=(4,), shape=(12, 160))
    assert model(torch.randn(1, 1, 12, 33)).shape == (1, 3)
    with pytest.raises(ValueError, match=r"where \(batch, 1, 12, time\) is expected"):
        model(torch.randn(1, 1, 256, 33))
    with pytest.raises(ValueError, match="one channel, 'cifar' has 3"):
        build_model(architecture, "cifar", 3)
    with pytest.raises(ValueError, match="names no recurrent layer"):
        build_model(architecture, "chroma", 3, hidden=())


def test_lyrics_ends_on_the_last_word() -> None:
    model = build_model("lyrics", None, 3, **SIZES)
    words = torch.tensor([[0, 0, 4, 5, 6]])
    embedded = model.embedding(words)[0]
    for layer in model.recurrent.layers:
        embedded = lstm_by_hand(layer, embedded)
    torch.testing.assert_close(model(words)[0], model.head(embedded[-1]), atol=1e-5, rtol=1e-4)


def test_padding_is_learned_like_a_word_unless_skipped() -> None:
    padded, bare = torch.tensor([[0, 0, 0, 4, 5]]), torch.tensor([[4, 5]])
    for skip, row_learns in ((False, True), (True, False)):
        model = build_model("lyrics", None, 3, skip_padding=skip, **SIZES)
        model(padded).sum().backward()
        assert bool(model.embedding.weight.grad[0].any()) is row_learns
        assert torch.allclose(model(padded), model(bare), atol=1e-7) is skip


def test_skipped_padding_makes_a_text_independent_of_its_batch() -> None:
    model = build_model("lyrics", None, 3, skip_padding=True, **SIZES)
    nn.init.normal_(model.embedding.weight)  # far apart, so that one word more or less shows
    batch = torch.tensor([[1, 2, 3, 4, 5], [0, 0, 0, 7, 8], [0, 9, 0, 9, 9], [0, 0, 0, 0, 0]])
    texts = [
        torch.tensor([[1, 2, 3, 4, 5]]),
        torch.tensor([[7, 8]]),
        torch.tensor([[9, 0, 9, 9]]),
        torch.tensor([[0]]),
    ]
    together = model(batch)
    model.skip_padding = (
        False  # the texts alone have no padding to skip; a 0 inside one is not padding
    )
    torch.testing.assert_close(together, torch.cat([model(text) for text in texts]))


def test_lyrics_says_what_it_cannot_read() -> None:
    model = build_model("lyrics", None, 3, **SIZES)
    with pytest.raises(ValueError, match=r"\(2, 0\) where \(batch, length\)"):
        model(torch.zeros(2, 0, dtype=torch.int64))
    with pytest.raises(ValueError, match="vocabulary=0 must be at least 1"):
        build_model("lyrics", None, 3, vocabulary=0)
