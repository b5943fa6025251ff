"""Training loops: ours, and how others do it. Each is a function that trains one epoch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn

from mia_utils import TrainConfig
from mia_utils.training.batches import MEAN, STD, Loader
from mia_utils.training.models import build
from mia_utils.training.worker import Worker

BATCH = 128


def images(shape: tuple[int, int, int], classes: int, count: int):
    """Random uint8 images and labels: what is in them does not change the speed."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8), np.arange(count) % classes


def ours(architecture, records, labels, classes, precision="fp32") -> Callable[[], None]:
    """The package's own loop, as `training.fit` runs it."""
    arguments = (records, labels, classes, architecture, TrainConfig())
    with Worker().place(*arguments, seed=0, precision=precision) as place:
        pass  # on a processor the place outlives the block
    rng = np.random.default_rng(0)

    def epoch() -> None:
        place.model.train()
        total = torch.zeros(())
        for batch in torch.from_numpy(rng.permutation(len(records))).split(BATCH):
            total += place.step(batch) * len(batch)

    return epoch


def loading(records, labels) -> Callable[[], None]:
    """The batches alone."""
    loader = Loader(records, labels, "cpu")
    rng = np.random.default_rng(0)

    def epoch() -> None:
        for batch in torch.from_numpy(rng.permutation(len(records))).split(BATCH):
            loader(batch), loader.labels[batch]

    return epoch


def relu_first(model: nn.Sequential) -> nn.Sequential:
    """The same network in the usual order, ReLU before max-pooling."""
    layers = list(model)
    for i in range(len(layers) - 1):
        if isinstance(layers[i], nn.MaxPool2d) and isinstance(layers[i + 1], nn.ReLU):
            layers[i], layers[i + 1] = layers[i + 1], layers[i]
    return nn.Sequential(*layers)


class _Pictures(torch.utils.data.Dataset):
    """PIL images, transformed one by one, as torchvision's data sets are."""

    def __init__(self, records: np.ndarray, labels: np.ndarray) -> None:
        from torchvision import transforms

        self.records, self.labels = records, labels
        channels = records.shape[3]
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(MEAN[channels], STD[channels])]
        )

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, i: int):
        from PIL import Image

        array = self.records[i]
        picture = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
        return self.transform(picture), int(self.labels[i])


def usual(
    architecture,
    records,
    labels,
    classes,
    *,
    workers: int,
    persistent: bool = False,
    device: str = "cpu",
):
    """The usual loop, and the report author's: DataLoader, NCHW, fp32, torch.optim.Adam."""
    torch.manual_seed(0)
    model = build(architecture, records.shape[1:], classes)
    if isinstance(model, nn.Sequential):
        model = relu_first(model)
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(
        _Pictures(records, labels),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=persistent,
    )
    loss = nn.CrossEntropyLoss()

    def epoch() -> None:
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            value = loss(model(x.to(device)), y.to(device))
            value.backward()
            optimizer.step()

    return epoch


def plain(architecture, records, labels, classes, *, device: str) -> Callable[[], None]:
    """A good loop without graphs: data on the device, bf16, channels_last, fused Adam."""
    torch.manual_seed(0)
    model = build(architecture, records.shape[1:], classes)
    model.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    pixels = torch.from_numpy(records).to(device).permute(0, 3, 1, 2)
    y = torch.from_numpy(labels).to(device)
    channels = records.shape[3]
    mean, deviation = (
        torch.tensor(values[channels], device=device).view(1, -1, 1, 1) for values in (MEAN, STD)
    )

    def epoch() -> None:
        model.train()
        for index in torch.randperm(len(y), device=device).split(BATCH):
            x = (pixels[index].float() / 255 - mean) / deviation
            optimizer.zero_grad()
            with torch.autocast(device, dtype=torch.bfloat16):
                value = nn.functional.cross_entropy(model(x).float(), y[index])
            value.backward()
            optimizer.step()

    return epoch


def art(architecture, records, labels, classes) -> Callable[[], None]:
    """The Adversarial Robustness Toolbox's `PyTorchClassifier.fit`, on normalised arrays."""
    from art.estimators.classification import PyTorchClassifier

    torch.manual_seed(0)
    model = relu_first(build(architecture, records.shape[1:], classes))
    channels = records.shape[3]
    scaled = (records / 255.0 - MEAN[channels]) / STD[channels]
    x = np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)
    classifier = PyTorchClassifier(
        model=model,
        loss=nn.CrossEntropyLoss(),
        input_shape=x.shape[1:],
        nb_classes=classes,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        device_type="cpu",
    )
    return partial(classifier.fit, x, labels, batch_size=BATCH, nb_epochs=1, verbose=False)
