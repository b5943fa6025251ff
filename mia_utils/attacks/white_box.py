"""Attacks that look inside: the gradient of the loss at a record, parameter by parameter."""

from __future__ import annotations

import os
from typing import Self

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .. import arguments, signals
from ..data import Pool
from ..engine.store import Store
from ..errors import InputError
from ..outputs import Outputs
from .base import Needs
from .stored import StoredModelAttack

FEATURES = ("norm", "last_layer", "all")
_MEMORY = 256 * 2**20  # bytes of gradients at once
_FLOOR = 1e-30


def gradient_norms(
    name: str,
    pool: Pool,
    ids: np.ndarray,
    labels: np.ndarray,
    store: str | os.PathLike | Store | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Log norms of the loss's gradient at single records, one column a parameter tensor.

    With phi the margin log p_y - log(1 - p_y) the loss is log(1 + exp(-phi)) and its gradient
    -(1 - p_y) times that of phi. The gradient of phi is taken by automatic differentiation, record
    by record, and log(1 - p_y) is added afterwards: where the loss rounds to 0 its gradient's
    direction and size are still known.

    Parameters
    ----------
    name : str
        Of a stored model; it is used in evaluation mode.
    ids, labels : int64 (n,)
        Rows of the pool, and their classes.

    Returns
    -------
    (float64 (n, P), list of P names)

    Raises
    ------
    InputError
        If the store does not hold the model, or a layer has no gradient record by record.
    """
    import torch
    from torch.func import functional_call, grad, vmap

    from ..engine.load import load_model
    from ..training.batches import Loader
    from ..training.device import alone, resolve_device

    device = resolve_device("auto")
    with alone(0):
        model = load_model(name, store)[0].to(device)
        parameters = {key: p.detach() for key, p in model.named_parameters()}

        def margin(values, x, y):
            logits = functional_call(model, values, (x[None],))[0]
            own = torch.arange(logits.numel(), device=device) == y
            others = torch.where(own, -torch.inf, logits).logsumexp(0)
            return torch.where(own, logits, 0).sum() - others, logits

        each = vmap(grad(margin, has_aux=True), in_dims=(None, 0, 0))
        size = sum(p.numel() for p in parameters.values()) * 4
        batch = max(1, min(128, _MEMORY // size))
        loader = Loader(pool.records, pool.labels, device)
        rows = []
        for start in range(0, len(ids), batch):
            index = torch.from_numpy(np.asarray(ids[start : start + batch])).to(device)
            y = torch.from_numpy(np.asarray(labels[start : start + batch])).to(device)
            try:
                gradients, logits = each(parameters, loader(index).contiguous(), y)
            except RuntimeError as error:
                reason = " ".join(str(error).split())
                raise InputError(
                    f"model {name} has no gradients record by record: {reason}"
                ) from None
            square = [g.double().flatten(1).square().sum(dim=1) for g in gradients.values()]
            phi = signals.margin(logits.float().cpu().numpy(), y.cpu().numpy())
            log_norm = 0.5 * np.log(np.maximum(torch.stack(square, 1).cpu().numpy(), _FLOOR))
            rows.append(log_norm - np.logaddexp(0, phi)[:, None])
    return np.concatenate(rows), list(parameters)


def _last_matrix(name: str, pool: Pool, store) -> str:
    """The weight matrix of the layer that a record meets last, in whatever order they are defined."""
    import torch

    from ..engine.load import load_model
    from ..training.batches import Loader
    from ..training.epochs import score

    model = load_model(name, store)[0]
    met: list[str] = []
    for path, layer in model.named_modules():
        weight = getattr(layer, "weight", None)
        if isinstance(weight, torch.nn.Parameter) and weight.ndim > 1:
            own = f"{path}.weight".lstrip(".")
            layer.register_forward_hook(lambda *_, own=own: met.append(own))
    score(model, Loader(pool.records[:1], pool.labels[:1], "cpu"))
    if not met:
        raise InputError(
            f"model {name} has no layer with a weight matrix of its own; expected one for "
            'features="last_layer": choose "norm"'
        )
    return met[-1]


def _total(log_norms: np.ndarray) -> np.ndarray:
    return 0.5 * np.logaddexp.reduce(2 * log_norms, axis=1)


class GradientAttack(StoredModelAttack):
    """The gradient of the loss at a record (Nasr, Shokri & Houmansadr, 2019): small at members,
    where training has made it so.

    Parameters
    ----------
    pool : Pool
        The records.
    features : "norm", "last_layer" or "all"
        "norm": the score is minus the log norm of the whole gradient. "last_layer": that of the
        weight matrix that is used last. "all": a logistic regression, fitted on shadow models, on the log norms
        of every parameter tensor and the margin.
    store : path or Store, default $MIA_STORE or ~/.cache/mia/store

    Notes
    -----
    The paper trains a network on the gradients themselves; with norms there are as many inputs as
    parameter tensors, which few shadow models can teach. "all" learns from models of the target's
    own architecture.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        features: str = "norm",
        store: str | os.PathLike | Store | None = None,
        threshold: float | None = None,
    ) -> None:
        super().__init__(pool, store=store, threshold=threshold)
        self.features = features

    @property
    def needs(self) -> Needs:
        return Needs(fit=self.features == "all")

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.one_of("features", self.features, FEATURES)

    def fit(self, shadow: Outputs | None = None, population: Outputs | None = None) -> Self:
        """Fit the regression ("all") and take the threshold from the shadow models.

        Raises
        ------
        InputError
            As `Attack.fit`.
        """
        if self.features != "all":
            return super().fit(shadow, population)
        self.check_arguments()
        if shadow is None:
            raise InputError("GradientAttack.fit got no shadow models; pass shadow=")
        self._check_both_kinds(shadow)
        x = np.concatenate([self._rows(shadow, model) for model in range(len(shadow))])
        truth = shadow.members[shadow.evaluated]
        self.regression_ = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        self.regression_.fit(x, truth)
        self._set_threshold(self.regression_.decision_function(x), truth)
        return self

    def score(self, target: Outputs) -> np.ndarray:
        """Scores, float64 (M, N), NaN where the pair is not evaluated; errors as in the base, and
        InputError if "all" is not fitted."""
        if self.features == "all":
            self._check_fitted("regression_")
        return super().score(target)

    def _score_model(self, target: Outputs, model: int, used: np.ndarray) -> np.ndarray:
        rows = self._rows(target, model)
        return self.regression_.decision_function(rows) if self.features == "all" else -rows

    def _rows(self, outputs: Outputs, model: int) -> np.ndarray:
        """Of the model's evaluated records: (n, P + 1) for "all", else the one norm (n,)."""
        used = outputs.evaluated[model]
        ids, labels = outputs.ids[used], outputs.labels[used]
        name = outputs.names[model]
        norms, names = gradient_norms(name, self.pool, ids, labels, self.store)
        if self.features == "norm":
            return _total(norms)
        if self.features == "last_layer":
            return norms[:, names.index(_last_matrix(name, self.pool, self.store))]
        phi = signals.margin(outputs.logits[model][used], labels)
        return np.column_stack([norms, phi])
