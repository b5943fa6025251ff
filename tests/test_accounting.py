"""Epsilon and noise: against another accountant, within seconds for any noise, refused in one line."""

import math
import time

import pytest

from mia_utils import DPConfig, InputError, TrainConfig
from mia_utils.training.accounting import epsilon_of, noise_multiplier, sampling, spent

SECONDS = 20  # a minute of silence, times the noise of a shared machine, is what is guarded against


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_epsilon_is_that_of_another_accountant(accountant):
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    noise, rate, steps = 1.1, 0.02, 500
    dp = DPConfig(noise_multiplier=noise, delta=1e-5, accountant=accountant)
    event = dp_event.SelfComposedDpEvent(
        dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise)), steps
    )
    other = (PLDAccountant if accountant == "prv" else RdpAccountant)()
    expected = other.compose(event).get_epsilon(1e-5)
    found = spent(dp, noise, rate, steps)
    assert found.epsilon == pytest.approx(expected, rel=0.02) and found.accountant == accountant


@pytest.mark.parametrize(
    "accountant, epsilon",
    [("prv", 0.05), ("prv", 3.0), ("prv", 1000.0), ("rdp", 3.0), ("rdp", 500.0), ("rdp", 1e6)],
)
def test_the_noise_keeps_the_promise_and_is_no_larger_than_it_must_be(accountant, epsilon):
    dp = DPConfig(epsilon=epsilon, delta=1e-4, accountant=accountant)
    rate, steps = 0.02, 60
    began = time.perf_counter()
    noise = noise_multiplier(dp, rate, steps)
    assert time.perf_counter() - began < SECONDS
    found = spent(dp, noise, rate, steps).epsilon
    assert found <= epsilon
    assert found > 0.95 * epsilon or noise == pytest.approx(1e-3)
    assert spent(dp, noise / 1.1, rate, steps).epsilon > epsilon or noise == pytest.approx(1e-3)


@pytest.mark.parametrize("noise", [1e-300, 0.01, 0.1, 0.5, 50.0, 1e300])
@pytest.mark.parametrize("rate, steps", [(1.0, 80), (0.001, 10**5)])
def test_any_noise_is_accounted_for_within_seconds(noise, rate, steps):
    dp = DPConfig(noise_multiplier=noise, delta=1e-5)
    began = time.perf_counter()
    epsilon, accountant = spent(dp, noise, rate, steps)
    assert time.perf_counter() - began < SECONDS
    assert epsilon >= 0 and accountant in ("prv", "rdp")
    if noise <= 0.01:
        assert epsilon > 1000 and accountant == "rdp"


def test_the_record_can_tell_which_accountant_it_was():
    """The tight one where it is quick, the loose one, higher, where it would take minutes."""
    quick = spent(DPConfig(noise_multiplier=1.0), 1.0, 0.02, 60)
    slow = spent(DPConfig(noise_multiplier=0.1), 0.1, 0.02, 60)
    assert (quick.accountant, slow.accountant) == ("prv", "rdp")
    asked = DPConfig(noise_multiplier=1.0, accountant="rdp")
    assert spent(asked, 1.0, 0.02, 60).accountant == "rdp"
    assert spent(asked, 1.0, 0.02, 60).epsilon > quick.epsilon


@pytest.mark.parametrize("what", ["noise", "rate", "steps", "delta"])
def test_epsilon_moves_the_right_way(what):
    run = {"noise": 1.0, "rate": 0.02, "steps": 60, "delta": 1e-5}
    more = run | {what: run[what] * 2 if what != "delta" else 1e-3}

    def epsilon(noise, rate, steps, delta):
        return epsilon_of(DPConfig(noise_multiplier=noise, delta=delta), noise, rate, steps)

    grows = what in ("rate", "steps")
    assert (epsilon(**more) > epsilon(**run)) == grows


def test_without_noise_nothing_is_promised():
    assert spent(DPConfig(noise_multiplier=0.0), 0.0, 0.1, 60).epsilon == math.inf


@pytest.mark.parametrize(
    "batch, members, epochs, rate, steps",
    [(16, 60, 2, 16 / 60, 8), (60, 60, 3, 1.0, 3), (100, 60, 3, 1.0, 3), (1, 2, 40, 0.5, 80)],
)
def test_sampling_takes_a_batch_on_average(batch, members, epochs, rate, steps):
    assert sampling(TrainConfig(epochs=epochs, batch_size=batch), members) == (rate, steps)


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_a_promise_that_no_noise_keeps_is_refused_in_one_line(accountant):
    with pytest.raises(
        InputError, match="epsilon=1e-06 at delta=1e-12 cannot be reached in 8 steps"
    ):
        noise_multiplier(DPConfig(epsilon=1e-6, delta=1e-12, accountant=accountant), 0.25, 8)


def test_noise_that_was_asked_for_is_the_noise():
    assert noise_multiplier(DPConfig(noise_multiplier=0.7), 0.1, 60) == 0.7


def test_noise_that_is_none_is_told_what_it_may_be():
    dp = DPConfig(noise_multiplier=1.0, delta=1e-5)
    with pytest.raises(InputError, match=r"^noise=-1; expected a number >= 0$"):
        epsilon_of(dp, -1, 0.01, 10)
