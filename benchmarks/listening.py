"""False positives, coverage and power of the statistics of a listening test, by simulation.

    python benchmarks/listening.py [--tests 1000] [--spread 0.5] [--difference 0.5]

Two systems, 20 pairs per listener, drawn as the page draws them. The log odds of a vote are the difference of
the systems, a normal effect of the listener (`--spread` is its standard deviation) and one of each of the two
sounds (0, 0.5 and 1: the three numbers of a cell, all in percent). With "none", listeners have no preference
if the systems differ by less than 0.7 to them. False positives are p < 0.05 for equal systems; coverage is
how often the 95 % interval has the preference of the population of listeners and sounds, for equal systems
and for the difference; power is how often p < 0.05 for the difference, in half as many tests. "Listeners
only" are the false positives of a t test of the listeners' means, which takes the sounds for all there are.
"""

import argparse
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtr

from samplernn_theano.listening import pairs
from samplernn_theano.listening.statistics import Estimate, estimate

PAIRS = 20  # per listener
PEOPLE = 300  # whose pairs are drawn; those of a simulated test are a random part of them


@dataclass(frozen=True)
class Setting:
    """A listening test of two systems and the population behind it; effects in logits."""

    listeners: int
    clips: int  # of each system
    sd: float  # of the sounds of a system
    spread: float = 0.5  # of the listeners
    band: float = 0.0  # of no preference
    difference: float = 0.0  # of the systems

    def preference(self) -> float:
        """The share of votes for the first system in the population, no preference being half."""
        x, weights = np.polynomial.hermite_e.hermegauss(60)
        effects = self.difference + np.hypot(self.spread, np.sqrt(2) * self.sd) * x
        shares = (expit(effects - self.band) + expit(effects + self.band)) / 2
        return float(weights @ shares / weights.sum())


@cache
def drawn(clips: int) -> NDArray[np.int64]:
    """The sounds (PEOPLE, 2, PAIRS) of both systems that each person hears, as numbers."""
    system_of = {f"{i}": "AB"[i // clips] for i in range(2 * clips)}
    people = [pairs.draw(system_of, PAIRS, f"person {i}") for i in range(PEOPLE)]
    return np.sort(np.array(people, int), axis=2).swapaxes(1, 2) % clips


def simulate(setting: Setting, rng: np.random.Generator) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """The votes (votes,) for the first system, and the listener and both sounds of each (3, votes)."""
    people = drawn(setting.clips)[rng.choice(PEOPLE, setting.listeners, replace=False)]
    units = np.array([np.repeat(np.arange(setting.listeners), PAIRS), *people.swapaxes(0, 1).reshape(2, -1)])
    spreads = ((setting.spread, setting.listeners), (setting.sd, setting.clips), (-setting.sd, setting.clips))
    effects = (spread * rng.standard_normal(n)[own] for (spread, n), own in zip(spreads, units, strict=True))
    leaning = setting.difference + sum(effects) + rng.logistic(size=units.shape[1])
    return np.where(np.abs(leaning) < setting.band, 0.5, leaning > 0), units


def random_numbers(setting: Setting) -> np.random.Generator:
    """Random numbers of a setting, which are independent of those of others."""
    return np.random.default_rng([round(100 * abs(value)) for value in astuple(setting)])


def estimates(setting: Setting, tests: int) -> list[Estimate]:
    """The estimates of the preference by so many simulated tests."""
    rng = random_numbers(setting)
    found = []
    for _ in range(tests):
        votes, units = simulate(setting, rng)
        found.append(estimate(votes, units, np.zeros(len(votes), np.int64)))
    return found


def listeners_only(setting: Setting, tests: int) -> float:
    """The share of t tests of the listeners' means with p < 0.05."""
    rng = random_numbers(setting)
    means = np.array([simulate(setting, rng)[0].reshape(-1, PAIRS).mean(axis=1) for _ in range(tests)])
    errors = means.std(axis=1, ddof=1) / np.sqrt(setting.listeners)
    t = np.abs(means.mean(axis=1) - 0.5) / np.maximum(errors, 1e-9)
    return float(np.mean(2 * stdtr(setting.listeners - 1, -t) < 0.05))


def significant(found: Sequence[Estimate]) -> float:
    """The share of estimates with p < 0.05."""
    return float(np.mean([own.p_value < 0.05 for own in found]))


def coverage(found: Sequence[Estimate], setting: Setting) -> float:
    """The share of estimates whose interval has the preference of the population."""
    true = setting.preference()
    return float(np.mean([own.low <= true <= own.high for own in found]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--spread", type=float, default=0.5)
    parser.add_argument("--difference", type=float, default=0.5)
    a = parser.parse_args()
    head = ("listeners", "clips", "none", "false positives", "listeners only")
    head += ("coverage, equal", "coverage, different", "power")
    print("| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|")
    for listeners, clips, band in product((6, 30, 60), (8, 20, 200), (0.0, 0.7)):
        cells = [cell_of(Setting(listeners, clips, sd, a.spread, band), a) for sd in (0, 0.5, 1)]
        row = [str(listeners), str(clips), "yes" if band else "no"]
        row += [", ".join(f"{100 * value:.1f}" for value in column) for column in zip(*cells, strict=True)]
        print("| " + " | ".join(row) + " |", flush=True)


def cell_of(setting: Setting, a: argparse.Namespace) -> list[float]:
    """The numbers of a setting: false positives, those of listeners only, coverage (two), power."""
    other = replace(setting, difference=a.difference)
    equal, different = estimates(setting, a.tests), estimates(other, a.tests // 2)
    alone = listeners_only(setting, a.tests)
    covered = coverage(equal, setting), coverage(different, other)
    return [significant(equal), alone, *covered, significant(different)]


if __name__ == "__main__":
    main()
