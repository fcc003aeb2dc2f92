"""Albums: MobileNetV2 over album art (Whitell 2019; Sandler et al. 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import BATCH_NORM_MOMENTUM, Conv2d, batch_norm, initialise

COLOURS = 3


class Albums(nn.Module):
    """MobileNetV2 without top and without pre-trained weights, global average, dense.

    Strided convolutions pad as Keras' MobileNetV2 does (for an even size, one row below and one
    column on the right).

    Parameters
    ----------
    outputs : int
        Length of the output vector.
    width_multiplier : float
        Scales every layer's width (rounded to multiples of 8); the last one stays 1280 wide when
        below 1.
    batch_norm_momentum : float
        Share of the new statistic in batch norm's running mean and variance.
    """

    def __init__(
        self,
        outputs: int,
        *,
        width_multiplier: float = 1.0,
        batch_norm_momentum: float = BATCH_NORM_MOMENTUM,
    ) -> None:
        super().__init__()
        if width_multiplier <= 0:
            raise ValueError(f"width_multiplier={width_multiplier} must be above 0")
        # Not at the top: it imports torch.compile's packages, 1.2 to 2.3 s of CPU time in every
        # process that imports the models, and most build none of these.
        from torchvision.models import MobileNetV2

        network = MobileNetV2(
            num_classes=1,
            width_mult=width_multiplier,
            norm_layer=lambda channels: batch_norm(channels, batch_norm_momentum),
        )
        self.features = network.features
        _pad_strided_as_keras(self.features)
        self.head = nn.Linear(network.last_channel, outputs)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, outputs); height and width are free."""
        if images.ndim != 4 or images.shape[1] != COLOURS:
            raise ValueError(
                f"input of shape {tuple(images.shape)} where (batch, {COLOURS}, height, width) "
                "is expected"
            )
        return self.head(self.features(images).mean(dim=(2, 3)))


def _pad_strided_as_keras(network: nn.Module) -> None:
    """Replace the strided convolutions, which torchvision pads alike on both sides."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and child.stride != (1, 1):
                same = Conv2d(
                    child.in_channels,
                    child.out_channels,
                    child.kernel_size,
                    child.stride,
                    groups=child.groups,
                )
                setattr(parent, name, same)
