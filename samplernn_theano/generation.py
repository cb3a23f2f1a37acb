"""A checkpoint to sound: what is asked for, the blocks of samples, the level at which they are written."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samplernn_theano import audio, engines, priming, saved
from samplernn_theano.engines import Engine, State
from samplernn_theano.errors import CheckpointError, HyperParameterError
from samplernn_theano.hyperparameters import HyperParameters, Quantised, RealValued
from samplernn_theano.quantize import dequantize
from samplernn_theano.saved import Saved
from samplernn_theano.streams import OriginalStreams, OwnStreams, Streams

COLDEST = 1e-30  # a temperature below has no inverse in float32

PEAK = 0.9
"""The largest magnitude of what is written to a file: -0.9 dBFS."""


@dataclass(frozen=True)
class Request:
    """What to generate.

    Attributes
    ----------
    n_seqs : int
    seed : int
        Sequence i depends on it and on i only, not on how many sequences there are.
    temperature : tuple of float
        One for all sequences, or one for each.
    top_p : float
        Where less than 1: only the most probable levels are drawn, those that have this probability together.
    primes : tuple of Path
        Recordings to go on from: sequence i continues the one of number i modulo their number.
    silent : range
        Positions, in samples from the start of what is generated, that are silence, written and fed back.
    like_original : bool
        Draw with the original's random streams.
    generation : int
        Which one in a row, from 1: the original's random streams go on from one to the next.
    draws : int
        How many each sequence of a generation makes, where `generation` is above 1.
    backend : str or None
        See `engines.create`.

    Raises
    ------
    HyperParameterError
        If a value is out of range, or two contradict each other.
    """

    n_seqs: int = 1
    seed: int = 0
    temperature: tuple[float, ...] = (1.0,)
    top_p: float = 1.0
    primes: tuple[Path, ...] = ()
    silent: range = range(0)
    like_original: bool = False
    generation: int = 1
    draws: int = 0
    backend: str | None = None

    def __post_init__(self) -> None:
        if self.n_seqs < 1:
            raise HyperParameterError(f"--n_seqs is {self.n_seqs}; it must be 1 or more.")
        if not 0 <= self.seed < 2**32:
            raise HyperParameterError(
                f"--seed is {self.seed}; it must be a whole number from 0 to 4294967295."
            )
        if not all(COLDEST <= t < math.inf for t in self.temperature):
            raise HyperParameterError("--temperature must be a positive number; 1 is the model as it is.")
        if len(self.temperature) not in (1, self.n_seqs):
            raise HyperParameterError(
                f"--temperature has {len(self.temperature)} values for {self.n_seqs} sequences; give one, or "
                "one for each."
            )
        if not 0 < self.top_p <= 1:
            raise HyperParameterError(f"--top-p is {self.top_p:g}; it must be above 0 and at most 1.")
        if len(self.primes) > self.n_seqs:
            raise HyperParameterError(
                f"--prime names {len(self.primes)} recordings for {self.n_seqs} sequences; "
                f"give --n_seqs {len(self.primes)} or more."
            )
        if self.like_original and (self.temperature != (1.0,) or self.top_p < 1 or self.primes or self.seed):
            raise HyperParameterError(
                "--like-original goes without --temperature, --top-p, --prime and --seed: the original has "
                "none of them."
            )

    def temperature_of(self, sequence: int) -> float:
        """The temperature of one sequence."""
        return self.temperature[sequence % len(self.temperature)]


@dataclass(frozen=True)
class Generator:
    """A model made ready for a request."""

    hp: HyperParameters
    engine: Engine
    streams: Streams
    state: State  # before the first sample
    silent: range = range(0)
    primes: Sequence[priming.Prime] = ()  # one per recording of the request


def prepare(model: Saved, request: Request, progress: bool = False) -> Generator:
    """Build and compile what a request needs, and read its primes through the model.

    Raises
    ------
    CheckpointError
        If the parameters do not fit the hyper-parameters.
    DataError
        If a prime cannot be read.
    HyperParameterError
        If the model cannot do what is asked for.
    """
    hp, n_seqs = model.hp, request.n_seqs
    primes = [priming.read(path, hp) for path in request.primes]
    params = saved.build(model).parameters
    engine = engines.create(params, hp, n_seqs, request.backend, request.temperature, request.top_p)
    streams: Streams = OwnStreams(request.seed, n_seqs)
    if request.like_original:
        streams = OriginalStreams(n_seqs)
        streams.skip(("uniforms",), (request.generation - 1) * request.draws)
    state = engine.start()
    if primes:
        heard = [primes[i % len(primes)].samples for i in range(n_seqs)]
        state = priming.prime(params, hp, heard, request.backend, progress)
    return Generator(hp, engine, streams, state, request.silent, primes)


def blocks(generator: Generator, state: State, first: int = 0) -> Iterator[tuple[NDArray, State]]:
    """Blocks of samples (n_seqs, length) without end, each with the state after it.

    They are levels, or normalised numbers in a real-valued family. `first` is the position of the first one.

    Raises
    ------
    CheckpointError
        If a sample or a state is not finite.
    """
    engine = generator.engine
    for start in itertools.count(first, engine.length):
        times = np.arange(start, start + engine.length)
        silent = ((times >= generator.silent.start) & (times < generator.silent.stop)).astype(np.int32)
        noise = {name: generator.streams.draw(name, engine.length) for name in engine.noise}
        samples, state = engine.run(state, noise, silent)
        # A draw from what is no distribution gives -1.
        no_level = samples.dtype.kind == "i" and samples.min() < 0
        if no_level or not all(np.isfinite(values).all() for values in (samples, *state.values())):
            raise CheckpointError(
                "The model generates numbers that are not finite: its parameters are too large; use another "
                "checkpoint."
            )
        yield samples, state


def take(generator: Generator, n_samples: int) -> NDArray:
    """The first `n_samples` samples of every sequence, (n_seqs, n_samples)."""
    n_blocks = math.ceil(n_samples / generator.engine.length)
    parts = [samples for samples, _ in itertools.islice(blocks(generator, generator.state), n_blocks)]
    return np.concatenate(parts, axis=1)[:, :n_samples]


def generate(
    checkpoint: str | Path | Saved,
    seconds: float | None = None,
    n_seqs: int = 1,
    *,
    seed: int = 0,
    temperature: float | Sequence[float] = 1.0,
    top_p: float = 1.0,
    primes: str | Path | Sequence[str | Path] = (),
    silent: range = range(0),
    backend: str | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Generate sound block by block, in constant memory.

        for block in samplernn_theano.generate("runs/mine", seconds=10):
            ...

    Parameters
    ----------
    checkpoint : path or Saved
        A checkpoint, parameters of the original, or a run (its best one); or what `saved.read` returned.
    seconds : float, optional
        How much of each sequence; without: no end.
    n_seqs, seed, temperature, top_p, primes, silent, backend
        As in `Request`. What a prime holds is not part of the blocks.

    Yields
    ------
    (n_seqs, samples) float32
        Amplitudes as the model has them, in [-1, 1], at 16 kHz; some may have an offset (see `waveform`).

    Raises
    ------
    SampleRNNError
        As `prepare` and `saved.read`, at the first block.
    """
    if seconds is not None and not 0 < seconds < math.inf:
        raise HyperParameterError(f"seconds is {seconds}; it must be a positive number, or None: no end.")
    one = [primes] if isinstance(primes, str | Path) else primes
    request = Request(
        n_seqs=n_seqs,
        seed=seed,
        temperature=tuple(map(float, np.atleast_1d(temperature))),
        top_p=top_p,
        primes=tuple(map(Path, one)),
        silent=silent,
        backend=backend,
    )
    model = checkpoint if isinstance(checkpoint, Saved) else saved.read(checkpoint)
    generator = prepare(model, request)
    left = math.inf if seconds is None else max(1, round(seconds * audio.SAMPLE_RATE))
    for samples, _ in blocks(generator, generator.state):
        yield amplitudes(samples[:, : int(min(left, samples.shape[1]))], model.hp)
        left -= samples.shape[1]
        if left <= 0:
            return


def amplitudes(samples: NDArray, hp: HyperParameters) -> NDArray[np.float32]:
    """Levels, or the normalised numbers of a real-valued family, as amplitudes in [-1, 1]."""
    if isinstance(hp, Quantised):
        return dequantize(samples, hp.q_levels, hp.q_type)
    assert isinstance(hp, RealValued)
    return (samples * np.float32(hp.std or 1.0) + np.float32(hp.mean or 0.0)).astype(np.float32)


def level(pieces: Iterable[NDArray[np.float32]]) -> tuple[np.float32, np.float32]:
    """The mean of a sound that comes in pieces, and what scales it, without the mean, to a peak of 0.9.

    The scale of a constant is 0: silence.
    """
    total, n, low, high = 0.0, 0, np.inf, -np.inf
    for x in pieces:
        total, n = total + float(x.sum(dtype=np.float64)), n + len(x)
        low, high = min(low, float(x.min())), max(high, float(x.max()))
    mean = np.float32(total / n)
    peak = max(high - mean, mean - low)
    return mean, np.float32(PEAK / peak if peak > 1e-6 else 0)


def waveform(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Amplitudes (samples,) with the mean removed, and the largest scaled to 0.9. A constant is silence."""
    mean, scale = level([x])
    return (x - mean) * scale
