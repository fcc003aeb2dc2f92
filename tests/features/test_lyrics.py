from __future__ import annotations

import numpy as np
import pytest
import torch

from musicrec.features.lyrics import Vocabulary, build_vocabulary, pad, subsample, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[Chorus] Stay with me", ["stay", "with", "me"]),
        ("{Verse 2}\nAlone (Produced by Nobody) again", ["alone", "again"]),
        ("la la x2, 3x and x 4", ["la", "la", "and"]),
        ("la (x3) la", ["la", "la"]),
        ("extra 2xl", ["extra", "xl"]),  # a repeat mark is a word of its own
        ("Don\u2019t don't 'tis rock'n'roll", ["don\u2019t", "don't", "tis", "rock'n'roll"]),
        (
            "Über die Straße, où êtes-vous? ночь",
            ["über", "die", "straße", "où", "êtes", "vous", "ночь"],
        ),
        ("99 red_balloons 4ever", ["red", "balloons", "ever"]),
        ("", []),
        ("[Instrumental]", []),
        ("(unclosed", ["unclosed"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_a_long_bracket_is_text() -> None:
    assert words(f"({'a ' * 20})") == []
    assert words(f"({'a ' * 20}b)") == ["a"] * 20 + ["b"]


def test_words_of_a_hostile_text_take_linear_time() -> None:
    # Nested patterns would take minutes here, and the test its time limit.
    assert words("[" * 200_000) == []
    assert words("(" * 100_000 + "a" * 100_000) == ["a" * 100_000]
    assert len(words("x 1" * 100_000)) > 0


def test_integers_fall_with_frequency_from_1() -> None:
    vocabulary = build_vocabulary(["b a a", "c a b"])
    assert vocabulary.words == ("a", "b", "c")
    assert vocabulary.shares == (3 / 6, 2 / 6, 1 / 6)
    assert vocabulary.rows == 4  # the padding and three words
    assert vocabulary.encode("c b a").tolist() == [3, 2, 1]


def test_equally_frequent_words_are_in_alphabetical_order() -> None:
    assert (
        build_vocabulary(["d c b a"]).words
        == build_vocabulary(["a b c d"]).words
        == ("a", "b", "c", "d")
    )


def test_one_integer_stands_for_rare_words_where_the_vocabulary_is_cut() -> None:
    vocabulary = build_vocabulary(["a a a b b c d"], maximum_words=2)
    assert vocabulary.cut
    assert vocabulary.rows == 4  # padding, a, b, rare
    assert vocabulary.encode("a b c never").tolist() == [1, 2, 3, 3]
    assert max(vocabulary.encode("a b c never")) < vocabulary.rows
    assert vocabulary.shares == (3 / 7, 2 / 7)


def test_unknown_words_are_left_out_where_nothing_was_cut() -> None:
    vocabulary = build_vocabulary(["a b"], maximum_words=2)
    assert not vocabulary.cut
    assert vocabulary.encode("never a").tolist() == [1]
    assert vocabulary.encode("never").dtype == np.int64
    assert len(vocabulary.encode("never")) == 0


def test_no_text_makes_an_empty_vocabulary() -> None:
    assert build_vocabulary(["[Instrumental]", ""]) == Vocabulary((), (), cut=False)


def test_drop_probabilities_are_mikolovs() -> None:
    # p = 1 - sqrt(t / f), t = 0.001: a word of 10 % is dropped with probability 0.9, one of
    # 0.1 % or less never.
    vocabulary = Vocabulary(("a", "b", "c"), (0.1, 0.001, 0.0001), cut=True)
    np.testing.assert_allclose(vocabulary.drop_probabilities(), [0, 0.9, 0, 0, 0], atol=1e-12)


def test_subsampling_drops_each_word_at_its_rate() -> None:
    drop = np.array([0.0, 0.9, 0.0])
    text = np.array([1, 2] * 10_000)
    kept = subsample(text, drop, np.random.default_rng(0))
    assert (kept == 2).sum() == 10_000
    assert (kept == 1).sum() == pytest.approx(1000, abs=4 * np.sqrt(10_000 * 0.9 * 0.1))
    assert not np.array_equal(kept, subsample(text, drop, np.random.default_rng(1)))


def test_a_text_of_frequent_words_is_never_emptied() -> None:
    generator = np.random.default_rng(0)
    for _ in range(100):
        assert len(subsample(np.array([1]), np.array([0, 0.999]), generator)) == 1


def test_padding_is_at_the_front() -> None:
    batch = pad([np.array([1, 2]), np.array([3, 4, 5]), np.array([], dtype=np.int64)])
    assert batch.tolist() == [[0, 1, 2], [3, 4, 5], [0, 0, 0]]
    assert batch.dtype == torch.int64


def test_a_batch_of_empty_texts_has_length_one() -> None:
    assert pad([np.array([], dtype=np.int64)] * 2).tolist() == [[0], [0]]
