"""The pairs of sounds that a listener hears: the page draws the same ones (see page.js)."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

BITS = 2**32 - 1


def draw(system_of: Mapping[str, str], number: int, seed: str) -> list[tuple[str, str]]:
    """Pairs of sounds (A, B) of different systems.

    Pairs of systems occur equally often, within one; a sound repeats only after all others of its system.
    """
    random = _generator(seed)
    sounds: dict[str, list[str]] = {}
    for sound, system in system_of.items():
        sounds.setdefault(system, []).append(sound)
    kinds = list(combinations(sounds, 2))
    rounds: list[tuple[str, str]] = []
    while len(rounds) < number:
        rounds += _shuffled(kinds, random)
    waiting: dict[str, list[str]] = {system: [] for system in sounds}

    def take(system: str) -> str:
        waiting[system] = waiting[system] or _shuffled(sounds[system], random)
        return waiting[system].pop()

    kinds = _shuffled(rounds[:number], random)
    ordered = ((a, b) if random() < 0.5 else (b, a) for a, b in kinds)
    return [(take(a), take(b)) for a, b in ordered]


def _generator(text: str) -> Callable[[], float]:
    """Marsaglia's xorshift from a hash (FNV-1a, bits mixed) of the text."""
    x = 0x811C9DC5
    for byte in text.encode():
        x = (x ^ byte) * 0x01000193 & BITS
    x = (x ^ x >> 16) * 0x85EBCA6B & BITS
    x = (x ^ x >> 13) * 0xC2B2AE35 & BITS
    x = (x ^ x >> 16) or 1

    def random() -> float:
        nonlocal x
        x ^= x << 13 & BITS
        x ^= x >> 17
        x ^= x << 5 & BITS
        return x / 2**32

    return random


def _shuffled[T](items: Sequence[T], random: Callable[[], float]) -> list[T]:
    found = list(items)
    for i in range(len(found) - 1, 0, -1):
        j = int(random() * (i + 1))
        found[i], found[j] = found[j], found[i]
    return found
