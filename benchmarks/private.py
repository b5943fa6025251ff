"""What a DP-SGD step costs, by each way of getting the sum of clipped record gradients."""

from __future__ import annotations

import warnings
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from mia_utils import DPConfig, TrainConfig
from mia_utils.training.batches import Loader
from mia_utils.training.models import build

from . import loops
from .timing import Ratio, one_core, ratio, rounds


def _ours(records, labels, classes, by_layer: bool):
    from mia_utils.training.dp import prepare

    config = TrainConfig(dp=DPConfig(noise_multiplier=1.0))
    place, step = prepare(
        records, labels, classes, "cnn", config, noise=1.0, expected=loops.BATCH, seed=0
    )
    place.model.train()
    noising = torch.Generator().manual_seed(0)

    def epoch() -> None:
        with patch("mia_utils.training.clipping.known_layers", lambda model: by_layer):
            for batch in torch.randperm(len(records)).split(loops.BATCH):
                step(batch, noising)

    return epoch


def _opacus(records, labels, classes, mode: str):
    from opacus import PrivacyEngine

    torch.manual_seed(0)
    model = build("cnn", records.shape[1:], classes).train()
    for layer in model.modules():  # Opacus' hooks need modules that change nothing in place
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    loader = Loader(records, labels, "cpu")
    x = loader(torch.arange(len(records))).contiguous()
    data = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, loader.labels), batch_size=loops.BATCH
    )
    criterion = nn.CrossEntropyLoss()
    made = PrivacyEngine().make_private(
        module=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        data_loader=data,
        criterion=criterion,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        poisson_sampling=False,
        grad_sample_mode=mode,
    )
    module, optimizer = made[:2]
    loss = made[2] if mode == "ghost" else criterion

    def epoch() -> None:
        for batch in torch.randperm(len(x)).split(loops.BATCH):
            optimizer.zero_grad()
            loss(module(x[batch]), loader.labels[batch]).backward()
            optimizer.step()

    return epoch


def step() -> list[Ratio]:
    """A private step over the plain fp32 channels_last step of the same CNN."""
    rows = []
    for name, shape, count in (("MNIST", (28, 28, 1), 2560), ("CIFAR", (32, 32, 3), 1280)):
        records, labels = loops.images(shape, 10, count)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            contestants = {
                "plain": loops.ours("cnn", records, labels, 10),
                "layer by layer (ours)": _ours(records, labels, 10, True),
                "record by record, torch.func": _ours(records, labels, 10, False),
                "Opacus hooks": _opacus(records, labels, 10, "hooks"),
                "Opacus ghost clipping": _opacus(records, labels, 10, "ghost"),
            }
            with one_core():
                found = rounds(contestants, 5)
        for other in list(contestants)[1:]:
            goal = "at most 2" if "ours" in other else ""
            rows.append(
                ratio(
                    f"{name} cnn, DP-SGD",
                    f"{other}, cost over the plain step",
                    np.asarray(found[other] / found["plain"]),
                    goal,
                )
            )
    return rows
