"""The attack models of the report: MLPs of one hidden layer, all sizes trained at once."""

from __future__ import annotations

import numpy as np

from ..errors import InputError

_LEARNING_RATE = 3e-3
_LARGEST_BATCH, _SMALLEST_BATCH, _STEPS_AN_EPOCH = 512, 32, 20


class MLP:
    """A binary classifier with one hidden layer (ReLU) whose size and epoch held-out rows choose.

    The networks of all sizes lie side by side in one, with an output each. No weight belongs to
    two of them and Adam treats every weight by itself, so that this is exactly training each alone
    on the same batches, at a fraction of the time. After every epoch the held-out cross-entropy
    of each is taken; the size and the epoch where it is lowest are kept.

    Parameters
    ----------
    sizes : sequence of int
        Hidden units to choose from.
    epochs : int
    seed : int
        Of the initial weights and the order of the rows.

    Attributes
    ----------
    size_, epoch_ : int
        Chosen hidden units; epochs trained until then.
    held_out_ : float64 (epochs, sizes)
        Held-out cross-entropy in nats after each epoch.
    """

    def __init__(self, sizes, *, epochs: int, seed: int) -> None:
        self.sizes = tuple(sizes)
        self.epochs = epochs
        self.seed = seed
        if not self.sizes or any(size < 1 for size in self.sizes) or epochs < 1:
            raise InputError(
                f"hidden is {self.sizes} and epochs {epochs}; expected numbers of at least 1"
            )

    def fit(self, x, y, held_x, held_y) -> MLP:
        """Train on rows x, float32 (n, D), with y, bool (n,); choose on the held-out ones."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

        rng = np.random.default_rng(self.seed)
        ends = np.cumsum(self.sizes)
        starts = ends - self.sizes
        inside = torch.zeros(ends[-1], len(self.sizes))  # which output does a unit feed?
        for network, (start, end) in enumerate(zip(starts, ends, strict=True)):
            inside[start:end, network] = 1

        def uniform(bound, *shape):
            return torch.tensor(rng.uniform(-1, 1, shape) * bound, dtype=torch.float32)

        inward, outward = x.shape[1] ** -0.5, np.repeat(np.array(self.sizes) ** -0.5, self.sizes)
        weights = [
            uniform(inward, x.shape[1], ends[-1]),
            uniform(inward, ends[-1]),
            uniform(outward, ends[-1]),
            torch.zeros(len(self.sizes)),
        ]
        for weight in weights:
            weight.requires_grad_()

        def outputs(rows):
            first, bias, second, offset = weights
            return torch.relu(torch.addmm(bias, rows, first)) @ (inside * second[:, None]) + offset

        def loss(rows, truth):  # mean over rows, one number a network
            truth = truth[:, None].expand(-1, len(self.sizes))
            return cross_entropy(outputs(rows), truth, reduction="none").mean(dim=0)

        x, held_x = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (x, held_x))
        y, held_y = (torch.from_numpy(np.asarray(a, np.float32)) for a in (y, held_y))
        batch = int(np.clip(len(x) // _STEPS_AN_EPOCH, _SMALLEST_BATCH, _LARGEST_BATCH))
        optimizer = torch.optim.Adam(weights, lr=_LEARNING_RATE, fused=True)
        decay = torch.optim.lr_scheduler.LinearLR(
            optimizer, 1.0, 0.0, total_iters=self.epochs * -(-len(x) // batch)
        )
        self.held_out_ = np.empty((self.epochs, len(self.sizes)))
        best = np.inf
        for epoch in range(self.epochs):
            for rows in torch.from_numpy(rng.permutation(len(x))).split(batch):
                optimizer.zero_grad()
                loss(x[rows], y[rows]).sum().backward()
                optimizer.step()
                decay.step()
            with torch.no_grad():
                self.held_out_[epoch] = loss(held_x, held_y).numpy()
            chosen = int(self.held_out_[epoch].argmin())
            if self.held_out_[epoch, chosen] < best:
                best = self.held_out_[epoch, chosen]
                self.size_, self.epoch_ = self.sizes[chosen], epoch + 1
                units = slice(starts[chosen], ends[chosen])
                first, bias, second, offset = (w.detach().double().numpy() for w in weights)
                self.weights_ = (
                    first[:, units],
                    bias[units],
                    second[units],
                    offset[chosen],
                )
        return self

    def log_odds(self, x: np.ndarray) -> np.ndarray:
        """log(p / (1 - p)) of y being True, float64 (n,)."""
        first, bias, second, offset = self.weights_
        return np.maximum(x @ first + bias, 0) @ second + offset

    def tensor_log_odds(self):
        """The same as a function of tensors, float32 (n, D) -> (n,), that has a gradient."""
        import torch

        first, bias, second, offset = (
            torch.tensor(np.asarray(w), dtype=torch.float32) for w in self.weights_
        )
        return lambda x: torch.relu(x @ first + bias) @ second + offset
