"""Returns under hidden regimes: who adapts, and where adapting harms.

python benchmarks/reproduce/prices.py
"""

from __future__ import annotations

from dataclasses import replace

from common import Figure
from exact import Check, Measures, run

from metabench.domains.prices import (
    BEAR,
    BULL,
    CRISIS,
    Market,
    advantage,
    filter_loss,
    informed_loss,
    moving_average_loss,
    static_loss,
)
from metabench.rng import Address

LEARNED = Market()
MARKETS = {
    "stay 0.98, as learned": LEARNED,
    **{f"stay {stay:g}": replace(LEARNED, stay=stay) for stay in (0.95, 0.9, 0.8)},
    "tails of 3 degrees of freedom": replace(LEARNED, tail=3.0),
    "a crisis never seen": replace(LEARNED, regimes=(BULL, BEAR, CRISIS)),
}
FILTER, AVERAGE, TOLD = "filter of the market as learned", "moving average", "told the regime"
KEEP = 0.94
SERIES, DAYS = 4, 2500
IID = "stay 0.5"
GAIN = "true filter, gain over static in nats"


def measure(replicate: int) -> Measures:
    """The same forecasters in every market."""
    values: dict[tuple[str, str], float] = {}
    for name, market in {**MARKETS, IID: replace(LEARNED, stay=0.5)}.items():
        returns, z = market.sample(Address.of("benchmark", "prices", name, replicate), SERIES, DAYS)
        static, best = static_loss(market, returns), filter_loss(market, returns)
        values[GAIN, name] = float(static.mean() - best.mean())
        if name == IID:
            continue
        for who, loss in (
            (FILTER, filter_loss(LEARNED, returns)),
            (AVERAGE, moving_average_loss(LEARNED, returns, KEEP)),
            (TOLD, informed_loss(market, returns, z)),
        ):
            values[who, name] = advantage(loss, static, best)
    return values


CHECK = Check(
    name="prices",
    title="Returns under hidden regimes",
    unit="advantage A, 0 for the market's static mixture and 1 for its own filter",
    notes=(
        "Daily returns with Student noise of 5 degrees of freedom, bull (0.05 %, 0.8 %) and bear "
        "(-0.1 %, 2 %), a crisis of scale 4 %; four series of 2,500 days a replicate. The loss is "
        "the negative log density of tomorrow's return. *As learned* is the exact filter for the "
        "first market, met by others: where regimes change faster than it believes, what it "
        f"learned does harm. The moving average of squares (factor {KEEP}) knows no regimes. At "
        "stay 0.5 days are independent and no filter can gain anything."
    ),
    figures=(
        Figure(FILTER, "stay 0.98, as learned", "", 1.0, None, "[D]"),
        Figure(GAIN, IID, "", 0.0, None, "[D]"),
        *(Figure(FILTER, name) for name in [*MARKETS][1:]),
        *(Figure(AVERAGE, name) for name in MARKETS),
        *(Figure(TOLD, name) for name in MARKETS),
        *(Figure(GAIN, name) for name in MARKETS),
    ),
    measure=measure,
    replicates=20,
    digits=3,
)

if __name__ == "__main__":
    run(CHECK)
