"""Augmentation of training batches of images; scored records stay as they are."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch.nn import functional

from .generators import DrawnFrom, Generators
from .regularizer import Regularizer


def crop_flip(x: torch.Tensor, generator: torch.Generator, padding: int = 4) -> torch.Tensor:
    """Random crop after reflection padding and random horizontal flip, one draw a record.

    Parameters
    ----------
    x : (B, C, H, W); the padding is at most a quarter of the side.
    """
    count, _, height, width = x.shape
    padding = min(padding, height // 4, width // 4)
    padded = functional.pad(x, (padding,) * 4, mode="reflect")
    top, left = torch.randint(
        0, 2 * padding + 1, (2, count, 1, 1), device=x.device, generator=generator
    )
    rows = torch.arange(height, device=x.device).view(1, -1, 1) + top
    columns = torch.arange(width, device=x.device).view(1, 1, -1)
    flip = torch.rand(count, 1, 1, device=x.device, generator=generator) < 0.5
    columns = torch.where(flip, width - 1 - columns, columns) + left
    record = torch.arange(count, device=x.device).view(-1, 1, 1)
    # Advanced indices around a slice put the channels last: (B, H, W, C), channels_last after permute.
    return padded[record, :, rows, columns].permute(0, 3, 1, 2)


def randaugment(x: torch.Tensor, generators: Generators) -> torch.Tensor:
    """RandAugment (Cubuk et al., 2020): two random operations a record, of magnitude 9 of 31.

    torchvision's, with its defaults, one draw a record. Records that drew the same operation meet it
    together: the same pixels, sooner than one record after the other.

    Parameters
    ----------
    x : uint8 (B, C, H, W)
        Images before normalisation, of 1 or 3 channels.
    """
    from torchvision.transforms.v2 import RandAugment

    drawn: list[tuple[str, float]] = []

    class Draw(RandAugment):
        def _apply_image_or_video_transform(self, image, transform_id, magnitude, **_):
            drawn.append((transform_id, magnitude))
            return image

    draw, change = Draw(), RandAugment()
    with DrawnFrom(generators):
        for image in x:
            draw(image)
    x = x.clone()
    for operation in range(change.num_ops):
        alike = defaultdict(list)
        for record, one in enumerate(drawn[operation :: change.num_ops]):
            alike[one].append(record)
        for (name, magnitude), records in alike.items():
            x[records] = change._apply_image_or_video_transform(
                x[records], name, magnitude, interpolation=change.interpolation, fill=change._fill
            )
    return x


class Augmentation(Regularizer):
    """RandAugment works on bytes, crop and flip on any image."""

    field = "augmentation"

    def __init__(self, config) -> None:
        super().__init__(config)
        self.recordable = (
            self.value == "crop_flip"
        )  # RandAugment draws and decides on the processor

    def images(self, images, generators):
        return randaugment(images, generators) if self.value == "randaugment" else images

    def batch(self, x, target, generators):
        return (crop_flip(x, generators.device) if self.value == "crop_flip" else x), target
