from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from musicrec.specs.ensemble import EnsembleSpec, StackInputs, drop_modalities

OUTPUTS = 6
BRANCHES = ("mel", "lyrics", "location", "year")
SPEC = EnsembleSpec(
    OUTPUTS,
    BRANCHES,
    sizes={
        "branch_hidden": 8,
        "branch_outputs": 5,
        "pair_hidden": [7, 6],
        "location_hidden": 4,
        "head": [9, 8],
    },
    ranges={"latitude": (-10.0, 50.0), "longitude": (0.0, 20.0), "year": (1700.0, 1900.0)},
    needs_all=False,
)


def vectors(tracks: int = 6) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        name: generator.standard_normal((tracks, OUTPUTS)).astype(np.float32)
        for name in ("mel.time", "mel.freq", "lyrics")
    }


def numbers(tracks: int = 6) -> dict[str, np.ndarray]:
    return {
        "latitude": np.full(tracks, 20.0),
        "longitude": np.full(tracks, 5.0),
        "year": np.full(tracks, 1750.0),
    }


def with_gaps() -> StackInputs:
    """Six tracks: one complete, four that lack mel.freq, lyrics, longitude or year, one empty."""
    found, values = vectors(), numbers()
    found["mel.freq"][1] = 0
    found["lyrics"][2] = 0
    values["longitude"][3] = np.nan
    values["year"][4] = np.nan
    for array in (*found.values(),):
        array[5] = 0
    for array in values.values():
        array[5] = np.nan
    return StackInputs.gather(SPEC, found, values)


def test_what_an_ensemble_reads_follows_from_its_branches() -> None:
    assert SPEC.submodels() == ["mel.time", "mel.freq", "lyrics"]
    assert SPEC.numbers() == ["latitude", "longitude", "year"]


def test_a_spec_survives_json() -> None:
    assert EnsembleSpec.from_json(json.loads(json.dumps(SPEC.as_json()))) == SPEC


def test_numbers_are_scaled_by_the_catalogs_range_and_held_at_its_ends() -> None:
    scaled = SPEC.scale("year", np.array([1700.0, 1800.0, 1900.0, 1500.0, 2020.0, np.nan]))
    np.testing.assert_array_equal(scaled, np.float32([0, 0.5, 1, 0, 1, np.nan]))
    assert scaled.dtype == np.float32


def test_a_range_of_one_value_scales_to_zero() -> None:
    spec = EnsembleSpec(OUTPUTS, ("year",), ranges={"year": (1791.0, 1791.0)})
    np.testing.assert_array_equal(spec.scale("year", np.array([1791.0])), [0])


def test_a_branch_is_present_if_everything_it_reads_is_there() -> None:
    inputs = with_gaps()
    assert {name: values.tolist() for name, values in inputs.present.items()} == {
        "mel": [1, 0, 1, 1, 1, 0],
        "lyrics": [1, 1, 0, 1, 1, 0],
        "location": [1, 1, 1, 0, 1, 0],
        "year": [1, 1, 1, 1, 0, 0],
    }
    assert all(np.isfinite(values).all() for values in inputs.numbers.values())
    assert inputs.numbers["longitude"][3] == 0


def test_usable_tracks_with_and_without_modality_dropout() -> None:
    assert with_gaps().usable(needs_all=True).tolist() == [True, False, False, False, False, False]
    assert with_gaps().usable(needs_all=False).tolist() == [True, True, True, True, True, False]


def test_tensors_are_the_chosen_rows_in_their_order() -> None:
    inputs = with_gaps()
    arguments, present = inputs.tensors(np.array([4, 0]))
    assert [*arguments] == ["mel.time", "mel.freq", "lyrics", "latitude", "longitude", "year"]
    np.testing.assert_array_equal(arguments["lyrics"], inputs.vectors["lyrics"][[4, 0]])
    assert present["year"].tolist() == [0, 1]
    assert {tensor.dtype for tensor in (*arguments.values(), *present.values())} == {torch.float32}


def test_an_absent_branch_changes_nothing_whatever_its_input() -> None:
    torch.manual_seed(0)
    model = SPEC.build().eval()
    arguments, present = with_gaps().tensors(np.array([2]))  # no lyrics
    with torch.no_grad():
        answer = model(arguments, present)
        arguments["lyrics"] = torch.ones_like(arguments["lyrics"])
        np.testing.assert_array_equal(model(arguments, present), answer)
        assert not torch.equal(model(arguments, present | {"lyrics": torch.ones(1)}), answer)


def present(examples: int, branches: int = 4) -> dict[str, torch.Tensor]:
    return {name: torch.ones(examples) for name in BRANCHES[:branches]}


def test_modalities_are_dropped_at_their_rate_and_independently() -> None:
    kept = torch.stack(
        list(drop_modalities(present(20_000), 0.3, np.random.default_rng(0)).values())
    ).numpy()
    # All four lost, 0.3^4 = 0.81 %, are kept whole instead.
    expected = 0.7 + 0.3**4
    np.testing.assert_allclose(kept.mean(axis=1), expected, atol=4 * np.sqrt(0.21 / 20_000))
    assert np.abs(np.corrcoef(kept) - np.eye(4)).max() < 0.05


def test_no_example_loses_all_its_modalities() -> None:
    all_there = drop_modalities(present(1000), 1.0, np.random.default_rng(0))
    assert torch.stack(list(all_there.values())).min() == 1
    for seed in range(20):
        assert (
            torch.stack(
                list(drop_modalities(present(100, 2), 0.9, np.random.default_rng(seed)).values())
            )
            .any(dim=0)
            .all()
        )


def test_a_modality_that_is_absent_is_never_brought_back() -> None:
    before = present(1000)
    before["lyrics"] = torch.zeros(1000)
    before["mel"][:500] = 0
    after = drop_modalities(before, 0.5, np.random.default_rng(0))
    assert [*after] == [*before]
    for name, values in after.items():
        assert (values <= before[name]).all()


def test_the_draw_is_the_generators_alone() -> None:
    draws = [
        torch.stack(list(drop_modalities(present(50), 0.5, np.random.default_rng(seed)).values()))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("probability", [0.0])
def test_nothing_is_dropped_with_probability_0(probability: float) -> None:
    kept = drop_modalities(present(100), probability, np.random.default_rng(0))
    assert torch.stack(list(kept.values())).min() == 1
