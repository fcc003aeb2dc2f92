"""Simple, Time, Freq and Albums: sizes after every layer, kernels, strides, rejected inputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from musicrec.models import INPUT_SHAPES, build_model
from musicrec.models.layers import Conv2d

Sizes = list[tuple[int, int]]

# Height and width after each block, computed by hand from Whitell 2019.
SIZES: dict[tuple[str, str], Sizes] = {
    ("simple", "stft"): [
        (1025, 322),
        (513, 161),
        (511, 159),
        (255, 79),
        (127, 39),
        (63, 19),
        (31, 9),
        (29, 7),
    ],
    ("simple", "stft_halved"): [
        (512, 322),
        (256, 161),
        (254, 159),
        (126, 79),
        (62, 39),
        (30, 19),
        (14, 9),
        (12, 7),
    ],
    ("simple", "mel"): [
        (128, 322),
        (126, 320),
        (124, 318),
        (61, 158),
        (30, 78),
        (14, 38),
        (6, 18),
        (4, 16),
    ],
    ("simple", "cqt"): [
        (84, 322),
        (82, 320),
        (80, 318),
        (39, 158),
        (19, 78),
        (9, 38),
        (4, 18),
        (2, 16),
    ],
    ("simple", "chroma"): [
        (12, 643),
        (10, 641),
        (10, 641),
        (5, 321),
        (3, 161),
        (2, 81),
        (1, 41),
        (1, 41),
    ],
    ("simple", "cifar"): [
        (32, 32),
        (30, 30),
        (30, 30),
        (30, 30),
        (15, 15),
        (15, 15),
        (8, 8),
        (8, 8),
    ],
    ("time", "stft"): [(2049, 322), (1025, 314), (513, 306), (257, 298), (257, 290), (1, 290)],
    ("time", "stft_halved"): [
        (1024, 322),
        (512, 314),
        (256, 306),
        (128, 298),
        (128, 290),
        (1, 290),
    ],
    ("time", "mel"): [(256, 322), (128, 314), (64, 306), (32, 298), (32, 290), (1, 290)],
    ("time", "cqt"): [(168, 322), (84, 314), (42, 306), (21, 298), (21, 290), (1, 290)],
    ("time", "mfcc"): [(12, 322), (12, 157), (12, 75), (12, 34), (12, 26), (1, 26)],
    ("time", "cifar"): [(32, 32), (16, 32), (8, 32), (4, 32), (4, 32), (1, 32)],
    ("freq", "stft"): [(1025, 643), (1017, 322), (1009, 161), (1001, 81), (993, 81), (993, 1)],
    ("freq", "stft_halved"): [(512, 643), (504, 322), (496, 161), (488, 81), (480, 81), (480, 1)],
    ("freq", "mel"): [(128, 643), (120, 322), (112, 161), (104, 81), (96, 81), (96, 1)],
    ("freq", "cqt"): [(84, 643), (76, 322), (68, 161), (60, 81), (52, 81), (52, 1)],
    ("freq", "chroma"): [(12, 643), (12, 322), (12, 161), (12, 81), (12, 81), (12, 1)],
    ("freq", "cifar"): [(32, 32), (32, 16), (32, 8), (32, 4), (32, 4), (32, 1)],
}


def sizes_in_forward(model: nn.Module, shape: tuple[int, ...]) -> Sizes:
    """Return the height and width after each block of `model.features`, for one example."""
    found: Sizes = []
    for block in model.features:
        block.register_forward_hook(
            lambda _module, _inputs, output: found.append(tuple(output.shape[-2:]))
        )
    model.eval()(torch.empty(1, *shape, device="meta"))
    return found


@pytest.mark.parametrize(("architecture", "feature"), SIZES)
def test_sizes_of_every_layer(architecture: str, feature: str) -> None:
    with torch.device("meta"):
        model = build_model(architecture, feature, 16)
    assert sizes_in_forward(model, INPUT_SHAPES[feature]) == SIZES[architecture, feature]


@pytest.mark.parametrize("architecture", ["simple", "time", "freq"])
@pytest.mark.parametrize("feature", INPUT_SHAPES)
def test_sizes_foretold_are_those_of_the_pass(architecture: str, feature: str) -> None:
    with torch.device("meta"):
        model = build_model(architecture, feature, 16)
    shape, foretold = INPUT_SHAPES[feature][1:], []
    for block in model.features:
        shape = block.output_shape(shape)
        foretold.append(shape)
    assert foretold == sizes_in_forward(model, INPUT_SHAPES[feature])


@pytest.mark.parametrize(
    ("architecture", "feature", "kernels"),
    [
        ("time", "mel", [(1, 160), (1, 80), (1, 40), (1, 20), (1, 10), (1, 6)]),
        ("time", "cifar", [(1, 10), (1, 8), (1, 6), (1, 5), (1, 4), (1, 3)]),
        ("freq", "stft", [(341, 1), (170, 1), (64, 1), (32, 1), (16, 1), (8, 1)]),
        ("freq", "mel", [(42, 1), (32, 1), (21, 1), (10, 1), (8, 1), (4, 1)]),
        ("freq", "cqt", [(42, 1), (33, 1), (28, 1), (14, 1), (7, 1), (3, 1)]),
        ("freq", "chroma", [(12, 1), (6, 1), (4, 1), (3, 1), (2, 1), (1, 1)]),
    ],
)
def test_lengths_of_the_parallel_kernels(architecture: str, feature: str, kernels: Sizes) -> None:
    with torch.device("meta"):
        model = build_model(architecture, feature, 16)
    assert [convolution.kernel_size for convolution in model.features[0].convolutions] == kernels


def test_freq_is_time_turned_by_ninety_degrees() -> None:
    time = build_model("time", "cifar", 5).eval()
    freq = build_model("freq", "cifar", 5).eval()
    turned = {
        name: weight.transpose(2, 3) if weight.ndim == 4 else weight
        for name, weight in time.state_dict().items()
    }
    freq.load_state_dict(turned)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(freq(images.transpose(2, 3)), time(images))


@pytest.mark.parametrize("architecture", ["simple", "time", "freq"])
@pytest.mark.parametrize(
    ("feature", "shape"), [("mel", (128, 160)), ("cqt", (84, 160)), ("chroma", (12, 600))]
)
def test_smaller_inputs_and_widths(architecture: str, feature: str, shape: tuple[int, int]) -> None:
    sizes = {"channels": (4, 6, 8, 10, 12, 14)} | (
        {} if architecture == "simple" else {"branch_filters": 1}
    )
    model = build_model(architecture, feature, 7, shape=shape, **sizes)
    assert model(torch.randn(2, 1, *shape)).shape == (2, 7)
    with pytest.raises(ValueError, match=r"\(2, 1, 12, 99\) where \(batch, 1, "):
        model(torch.randn(2, 1, 12, 99))


@pytest.mark.parametrize("architecture", ["simple", "time", "freq"])
def test_one_clip_at_inference_equals_its_place_in_a_batch(architecture: str) -> None:
    model = build_model(architecture, "mfcc", 3, shape=(12, 400)).eval()
    images = torch.randn(3, 1, 12, 400)
    torch.testing.assert_close(model(images[1:2]), model(images)[1:2], atol=1e-5, rtol=1e-4)


def test_too_small_an_input_says_what_to_change() -> None:
    with pytest.raises(
        ValueError, match=r"kernel_divisors=\(4, 8, 16, 32, 64, 96\) .* time axis' size 80"
    ):
        build_model("time", "mel", 16, shape=(128, 80))
    with pytest.raises(ValueError, match="valid kernel of 9 does not fit an axis of"):
        build_model("freq", "cqt", 16, shape=(48, 160))
    with pytest.raises(ValueError, match="use a larger input shape or fewer layers"):
        build_model("simple", "mel", 16, shape=(16, 16))


def test_albums_strided_convolutions_pad_as_keras() -> None:
    model = build_model("albums", None, 5)
    strided = [
        module
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2)
    ]
    assert len(strided) == 5
    assert all(isinstance(module, Conv2d) for module in strided)
    # Only Keras' padding (none before, one after an even size) sees the image's last row and column
    # in the last window's corner.
    corner = torch.zeros(1, 3, 8, 8)
    corner[..., 7, 7] = 1.0
    first = strided[0](corner)
    torch.testing.assert_close(first[0, :, 3, 3], strided[0].weight[:, :, 1, 1].sum(1))


@pytest.mark.parametrize("size", [96, 63])
def test_albums_takes_any_size_and_width(size: int) -> None:
    model = build_model("albums", None, 9, width_multiplier=0.35)
    output = model(torch.rand(2, 3, size, size))
    assert output.shape == (2, 9)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 52
    assert all((norm.momentum, norm.eps) == (0.01, 1e-3) for norm in norms)
    with pytest.raises(ValueError, match=r"where \(batch, 3, height, width\)"):
        model(torch.rand(2, 1, size, size))
