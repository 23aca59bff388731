"""
Providers that become slower are learned: at once, by and by, and where only some calls are slow (semantics 4).

Real calls of about a second, one a second, timeouts between 1 and 60 s; fixed seeds, virtual time.
"""

from __future__ import annotations

import pytest

from benchmarks.simulations.slow import DRIFTS_FOR, LEARNT_AFTER, SLOW
from benchmarks.timeout_scenarios import CHANGE

SEEDS = (1, 2, 3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("key", ["slower-3", "slower-8", "bimodal"])
def test_a_slower_provider_is_learned(key: str, seed: int) -> None:
    """
    From ten minutes after the change on, fewer than 5 % of the calls are refused, and fewer than 5 % aborted.
    """
    recording = SLOW[key].play(seed=seed)

    assert recording.share("refused", begin=CHANGE + LEARNT_AFTER) < 0.05
    assert recording.share("aborted", begin=CHANGE + LEARNT_AFTER) < 0.05
    assert recording.timeout(SLOW[key].seconds) > 1.5 * recording.timeout(CHANGE - 1.0)


def test_a_slow_drift_is_followed() -> None:
    """
    A provider that becomes 6 x slower within three hours never opens the breaker, and loses no more than 3 % of the
    calls in any half hour.
    """
    recording = SLOW["drift"].play()

    assert not recording.entered("open")
    for begin in range(int(CHANGE), int(CHANGE + DRIFTS_FOR), 1800):
        assert recording.share("aborted", "refused", begin=begin, end=begin + 1800) < 0.03
    assert recording.timeout(CHANGE + DRIFTS_FOR) > 3 * recording.timeout(CHANGE - 1.0)


def test_trio_is_the_same() -> None:
    """
    Call by call, to the millisecond, trio shows what asyncio shows.
    """
    on_asyncio, on_trio = (
        [(round(each.at, 3), round(each.took, 3), each.how) for each in SLOW["slower-3"].play(backend=backend).asked]
        for backend in ("asyncio", "trio")
    )

    assert len(on_asyncio) > 5000
    assert on_asyncio == on_trio
