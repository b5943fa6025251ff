"""RandAugment and RelaxLoss, against slow computations and through the engine."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from mia_utils import InputError, Pool, TrainConfig, load_dataset, quarter_masks, signals, train
from mia_utils.defenses import preset
from mia_utils.training.augment import randaugment
from mia_utils.training.batches import Loader
from mia_utils.training.generators import DrawnFrom, Generators
from mia_utils.training.relax_loss import relaxed


def drawn(seed: int) -> Generators:
    generator = torch.Generator().manual_seed(seed)
    return Generators(generator, generator)


@pytest.mark.parametrize("channels", [1, 3])
def test_randaugment_changes_pixels_record_by_record(channels):
    x = torch.randint(0, 256, (16, channels, 12, 12), dtype=torch.uint8)
    generators = drawn(0)
    first = randaugment(x, generators)
    assert first.shape == x.shape and first.dtype == torch.uint8
    assert torch.equal(randaugment(x, drawn(0)), first)
    assert not torch.equal(randaugment(x, generators), first)
    same = randaugment(x[:1].expand(16, -1, -1, -1), generators)
    assert len({image.numpy().tobytes() for image in same}) > 4  # a draw of its own for each


@pytest.mark.parametrize("channels", [1, 3])
def test_randaugment_gives_the_pixels_of_torchvisions_record_after_record(channels):
    from torchvision.transforms.v2 import RandAugment

    shape = (200, channels, 14, 13)
    x = torch.randint(0, 256, shape, dtype=torch.uint8, generator=drawn(1).cpu)
    changed = randaugment(before := x.clone(), drawn(7))
    with DrawnFrom(drawn(7)):
        one_by_one = torch.stack([RandAugment()(image) for image in x])
    assert torch.equal(changed, one_by_one) and torch.equal(before, x)


def test_pixels_are_changed_before_they_are_normalised():
    records = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    loader = Loader(records, np.zeros(6, np.int64), "cpu")
    index = torch.tensor([4, 1])
    seen = []

    def invert(x):
        seen.append(x)
        return 255 - x

    changed = loader(index, invert)
    assert seen[0].dtype == torch.uint8 and seen[0].shape == (2, 3, 5, 4)
    inverted = Loader(255 - records, np.zeros(6, np.int64), "cpu")
    assert torch.equal(changed, inverted(index))


def test_relaxed_loss_is_the_papers():
    torch.manual_seed(0)
    logits, y = torch.randn(8, 4), torch.arange(8) % 4
    plain = functional.cross_entropy(logits, y)
    assert torch.equal(relaxed(logits, y, 0.1, 0), plain)
    assert torch.equal(relaxed(logits, y, 99.0, 0), -plain)
    slow = 0.0
    for z, label in zip(logits.double(), y, strict=True):
        p = z.softmax(0)
        target = torch.zeros(4, dtype=torch.float64)
        if int(p.argmax()) == int(label):
            target[:] = (1 - p[label]) / 3
            target[label] = p[label]
        else:
            target[label] = 1
        slow -= float((target * p.log()).sum()) / 8
    assert float(relaxed(logits, y, 99.0, 1)) == pytest.approx(slow, rel=1e-5)


def test_relaxloss_keeps_the_loss_of_members_up(tmp_path):
    pool = load_dataset("digits")
    masks, _ = quarter_masks(pool.labels, seed=0, shadow_models=1)
    final = {}
    for name in ("none", "relaxloss"):
        config = TrainConfig(epochs=40, **preset(name).changes)
        outputs = train(pool, masks, "cnn", config, store=tmp_path, progress=False)
        held = outputs.members[0]
        final[name] = signals.loss(outputs.logits[0][held], outputs.labels[held]).mean()
    assert final["none"] < 0.2 < final["relaxloss"] < 1.0


def test_randaugment_trains_and_leaves_scores_clean(tmp_path):
    pool = load_dataset("digits")
    masks, _ = quarter_masks(pool.labels, seed=0, shadow_models=1)
    config = TrainConfig(epochs=3, **preset("randaugment").changes)
    a = train(pool, masks, "cnn", config, store=tmp_path / "a", progress=False)
    b = train(pool, masks, "cnn", config, store=tmp_path / "b", progress=False)
    np.testing.assert_array_equal(a.logits, b.logits)
    plain = train(pool, masks, "cnn", TrainConfig(epochs=3), store=tmp_path / "a", progress=False)
    assert a.names != plain.names and not np.array_equal(a.logits, plain.logits)


def test_what_does_not_go_together_is_refused(tmp_path):
    with pytest.raises(InputError, match="relax_loss=-1"):
        TrainConfig(relax_loss=-1)
    with pytest.raises(InputError, match="relax_loss and mixup"):
        TrainConfig(relax_loss=0.5, mixup=1.0)
    with pytest.raises(InputError, match="relax_loss and label_smoothing"):
        TrainConfig(relax_loss=0.5, label_smoothing=0.1)
    table = Pool.from_arrays("table", np.zeros((40, 6), np.float32), np.arange(40) % 2)
    masks, _ = quarter_masks(table.labels, seed=0, shadow_models=1)
    for augmentation in ("crop_flip", "randaugment"):
        with pytest.raises(InputError, match=f"augmentation='{augmentation}'.*images"):
            train(table, masks, "mlp", TrainConfig(augmentation=augmentation), store=tmp_path)
