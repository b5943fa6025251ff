"""Named streams: repeatable, apart from each other, of full width."""

import numpy as np
import pytest
import torch

from mia_utils import InputError
from mia_utils.randomness import numpy_generator, torch_generator

NAMES = [
    (0, "noise"),
    (1, "noise"),
    (0, "order"),
    (0, "noise", 0),
    (0, "noise", 1),
    (0, "noise", "1"),
    (0, "noise", 1, 0),
    (2**32, "noise"),
    (2**64, "noise"),
    (2**200, "noise"),
]
COUNT = 100_000


def draw(kind, *name):
    if kind == "numpy":
        return numpy_generator(*name).standard_normal(COUNT)
    return torch.randn(COUNT, generator=torch_generator(*name), dtype=torch.float64).numpy()


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_streams_repeat_and_have_nothing_to_do_with_each_other(kind):
    """Also those whose seeds agree in their low 32, 64 or 200 bits."""
    draws = np.array([draw(kind, *name) for name in NAMES])
    np.testing.assert_array_equal(draws[3], draw(kind, *NAMES[3]))
    between = np.corrcoef(draws) - np.eye(len(NAMES))
    assert abs(between).max() < 5 / COUNT**0.5
    assert abs(draws.mean(axis=1)).max() < 5 / COUNT**0.5
    assert abs(draws.std(axis=1) - 1).max() < 5 / (2 * COUNT) ** 0.5


def test_the_seed_of_another_stream_gives_no_draw_of_this_one():
    """What `torch.manual_seed(seed)` draws, as weights once did, is not in the stream of that seed."""
    mine = torch.randn(1000, generator=torch_generator(5, "noise"))
    other = torch.randn(1000, generator=torch.Generator().manual_seed(5))
    assert abs(np.corrcoef(mine, other)[0, 1]) < 0.2


def test_every_word_of_the_state_is_set_and_comes_out_in_its_turn():
    """Against NumPy's Mersenne twister with the same 624 words."""
    generator = torch_generator(7, "noise", 3)
    words = generator.get_state().view(torch.int64)[3:627].numpy()
    assert len(np.unique(words)) > 620
    twister = np.random.MT19937()
    twister.state = {
        "bit_generator": "MT19937",
        "state": {"key": words.astype(np.uint32), "pos": 624},
    }
    drawn = torch.empty(2000, dtype=torch.int32).random_(generator=generator)
    np.testing.assert_array_equal(drawn.numpy(), twister.random_raw(2000) % 2**31)


@pytest.mark.parametrize("seed", [-1, 1.0, "1", None, True])
def test_no_seed(seed):
    with pytest.raises(InputError, match="expected an integer >= 0"):
        numpy_generator(seed, "noise")
