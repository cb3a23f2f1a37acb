"""The three-tier training step written by hand in plain JAX: the peer that our own step is timed against.

SampleRNN (Mehri et al., ICLR 2017), one GRU per tier, weight normalisation, learned initial states. Weights
are normalised once per step, input projections stand outside the scan, gradients are autodiff through the
scan, and the jitted step reuses the buffers of the parameters and of Adam. It shares no code with
`samplernn_theano` and leaves out `BigFrameLevel.IndependentPreds`, which the cost does not reach.
Letters: B batch, T samples per chunk, N frames, D dim, Q levels, BFS big frame size.

    python benchmarks/plain_jax.py --dim 256 --batch 16 --seq_len 512
"""

import argparse
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LEARNING_RATE, BETA1, BETA2, EPSILON, GRAD_CLIP = 0.001, 0.9, 0.999, 1e-8, 1.0

Params = dict[str, jax.Array]
Pair = tuple[jax.Array, jax.Array]


class Dims(NamedTuple):
    """Sizes of the model; the defaults are those of the paper's 3-tier model, but for `dim`."""

    dim: int = 256
    emb: int = 256
    q: int = 256
    frame: int = 2
    big_frame: int = 8


class State(NamedTuple):
    """Training state: the parameters, Adam's two moments and its time t (float32 scalar)."""

    params: Params
    m: Params
    v: Params
    t: jax.Array


def init(rng: np.random.Generator, dims: Dims) -> Params:
    """Draw initial parameters, all float32, named and distributed as the original's (not the same draws)."""
    d, values = dims.dim, {"SampleLevel.Embedding": rng.standard_normal((dims.q, dims.emb))}
    he_layers = {
        "BigFrameLevel.Output": (d, d * dims.big_frame // dims.frame),
        "FrameLevel.InputExpand": (dims.frame, d),
        "FrameLevel.Output": (d, dims.frame * d),
        "SampleLevel.L1_PrevSamples": (dims.frame * dims.emb, d),
        "SampleLevel.L2": (d, d),
        "SampleLevel.L3": (d, d),
    }
    other_layers = {"SampleLevel.Output": (d, dims.q)}
    for tier, n_in in (("BigFrameLevel", dims.big_frame), ("FrameLevel", d)):
        values[f"{tier}.h0"] = np.zeros((1, d))
        other_layers[f"{tier}.GRU1.Step.Input"] = (n_in, 3 * d)
        other_layers[f"{tier}.GRU1.Step.Recurrent_Gates"] = (d, 2 * d)
        other_layers[f"{tier}.GRU1.Step.Recurrent_Candidate"] = (d, d)
    for name, (n_in, n_out) in (he_layers | other_layers).items():
        if name in other_layers and n_in == n_out:
            weight = np.linalg.svd(rng.standard_normal((n_in, n_out)))[0]
        else:
            limit = np.sqrt((6 if name in he_layers else 3) / n_in)
            weight = rng.uniform(-limit, limit, (n_in, n_out))
        values |= {f"{name}.W0": weight, f"{name}.g0": np.linalg.norm(weight, axis=0)}
        if not name.endswith(("Gates", "Candidate", "PrevSamples")):
            values[f"{name}.b"] = np.zeros(n_out)
    return {name: jnp.array(value, jnp.float32) for name, value in values.items()}


def from_golden(path: str) -> Params:
    """Read the `init/<name>` arrays of a golden case (an npz file), less `IndependentPreds`."""
    with np.load(path, allow_pickle=False) as arrays:
        keys = [key for key in arrays if key.startswith("init/") and "IndependentPreds" not in key]
        return {key.removeprefix("init/"): jnp.array(arrays[key]) for key in keys}


def start(params: Params, batch: int) -> tuple[State, Pair]:
    """State before the first update; zeros (B, D) as carried states of the big-frame and the frame tier."""
    m, v = jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params)
    h0 = jnp.zeros((batch, params["FrameLevel.h0"].shape[1]), jnp.float32)
    return State(params, m, v, jnp.zeros((), jnp.float32)), (h0, h0)


def normalised_weight(params: Params, name: str) -> jax.Array:
    """Weight of a layer, (in, out): W scaled to column norms g (Salimans & Kingma, 2016)."""
    weight = params[f"{name}.W0"]
    return weight * (params[f"{name}.g0"] / jnp.sqrt(jnp.sum(weight * weight, axis=0)))


def linear(params: Params, name: str, x: jax.Array) -> jax.Array:
    """Linear layer, (..., in) to (..., out), with its bias if it has one."""
    y = x @ normalised_weight(params, name)
    return y + params[f"{name}.b"] if f"{name}.b" in params else y


def gru(params: Params, tier: str, x: jax.Array, h0: jax.Array, reset: jax.Array) -> Pair:
    """GRU over x (B, N, in) from h0 (B, D), or from the learned state at a reset: all states and the last."""
    gate_weight = normalised_weight(params, f"{tier}.GRU1.Step.Recurrent_Gates")
    candidate_weight = normalised_weight(params, f"{tier}.GRU1.Step.Recurrent_Candidate")
    projected = linear(params, f"{tier}.GRU1.Step.Input", x.swapaxes(0, 1))

    def cell(h: jax.Array, x_t: jax.Array) -> Pair:
        x_gates, x_candidate = jnp.split(x_t, [2 * h.shape[1]], axis=1)
        z, r = jnp.split(jax.nn.sigmoid(h @ gate_weight + x_gates), 2, axis=1)
        candidate = jnp.tanh((r * h) @ candidate_weight + x_candidate)
        h = z * candidate + (1 - z) * h
        return h, h

    last, states = jax.lax.scan(cell, jnp.where(reset == 1, params[f"{tier}.h0"], h0), projected)
    return states.swapaxes(0, 1), last


def cost_and_h0s(params: Params, sequences: jax.Array, h0s: Pair, reset: jax.Array) -> tuple[jax.Array, Pair]:
    """Cost of a chunk in bits per sample, and the new states.

    `sequences` is (B, T + BFS) int32 in [0, Q); `h0s` are the states, (B, D) float32, of the big-frame and
    the frame tier; `reset` is an int32 scalar: 1 starts from the learned states, 0 from `h0s`.
    """
    batch, dim = h0s[0].shape
    big_frame = params["BigFrameLevel.GRU1.Step.Input.W0"].shape[0]
    frame = params["FrameLevel.InputExpand.W0"].shape[0]
    steps = sequences.shape[1] - big_frame
    embedding = params["SampleLevel.Embedding"]
    rescaled = (sequences.astype(jnp.float32) / (len(embedding) // 2) - 1) * 2

    big_frames = rescaled[:, :-big_frame].reshape(batch, -1, big_frame)
    big_states, new_big_h0 = gru(params, "BigFrameLevel", big_frames, h0s[0], reset)
    per_frame = linear(params, "BigFrameLevel.Output", big_states).reshape(batch, -1, dim)

    frames = rescaled[:, big_frame - frame : -frame].reshape(batch, -1, frame)
    frame_input = linear(params, "FrameLevel.InputExpand", frames) + per_frame
    states, new_h0 = gru(params, "FrameLevel", frame_input, h0s[1], reset)
    per_sample = linear(params, "FrameLevel.Output", states).reshape(batch, -1, dim)

    embedded = embedding[sequences[:, big_frame - frame : -1]]
    previous = jnp.concatenate([embedded[:, k : k + steps] for k in range(frame)], axis=2)
    x = linear(params, "SampleLevel.L1_PrevSamples", previous) + per_sample
    x = jax.nn.relu(linear(params, "SampleLevel.L2", x))
    x = jax.nn.relu(linear(params, "SampleLevel.L3", x))
    logits = linear(params, "SampleLevel.Output", x)
    picked = jnp.take_along_axis(logits, sequences[:, big_frame:, None], axis=2)[:, :, 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=2) - picked) / np.float32(np.log(2)), (new_big_h0, new_h0)


def clipped_adam(state: State, grads: Params) -> State:
    """Clip each gradient element to [-1, 1], then Adam with step size and epsilon placed as in Lasagne."""
    t = state.t + 1
    rate = LEARNING_RATE * jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t)
    grads = jax.tree.map(lambda g: jnp.clip(g, -GRAD_CLIP, GRAD_CLIP), grads)
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, state.m, grads)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, state.v, grads)
    params = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), state.params, m, v)
    return State(params, m, v, t)


@jax.jit(donate_argnums=0)
def step(state: State, sequences: jax.Array, h0s: Pair, reset: jax.Array) -> tuple[State, Pair, jax.Array]:
    """One update, which uses up `state`: the new state, the new carried states and the cost in bits."""
    gradient = jax.value_and_grad(cost_and_h0s, has_aux=True)
    (cost, new_h0s), grads = gradient(state.params, sequences, h0s, reset)
    return clipped_adam(state, grads), new_h0s, cost


def measure(dims: Dims, batch: int, seq_len: int, iterations: int) -> tuple[float, float]:
    """Seconds to trace and compile the step, and the median seconds per iteration (the first not counted)."""
    rng = np.random.default_rng(123)
    (state, h0s), reset = start(init(rng, dims), batch), jnp.zeros((), jnp.int32)
    sequences = jnp.array(rng.integers(0, dims.q, (batch, seq_len + dims.big_frame)), jnp.int32)
    began = time.perf_counter()
    compiled = step.lower(state, sequences, h0s, reset).compile()
    compile_seconds, seconds = time.perf_counter() - began, []
    for _ in range(iterations + 1):
        began = time.perf_counter()
        state, h0s, _ = jax.block_until_ready(compiled(state, sequences, h0s, reset))
        seconds.append(time.perf_counter() - began)
    return compile_seconds, float(np.median(seconds[1:]))


def main(argv: list[str] | None = None) -> None:
    """Print compile seconds and median seconds per iteration."""
    parser = argparse.ArgumentParser(description="Time the plain JAX three-tier training step.")
    for option, default in (("dim", 256), ("batch", 16), ("seq_len", 512), ("iterations", 20)):
        parser.add_argument(f"--{option}", type=int, default=default, help="default %(default)s")
    args = parser.parse_args(argv)
    if min(vars(args).values()) < 1:
        parser.error("--dim, --batch, --seq_len and --iterations must each be 1 or more.")
    if args.seq_len % Dims().big_frame:
        parser.error(f"--seq_len must be a multiple of the big frame size, {Dims().big_frame}.")
    compile_seconds, seconds = measure(Dims(args.dim), args.batch, args.seq_len, args.iterations)
    print(f"plain JAX, {jax.default_backend()}, dim {args.dim}, batch {args.batch}, seq_len {args.seq_len}")
    print(f"compile {compile_seconds:.2f} s, median of {args.iterations} iterations {seconds:.4f} s")


if __name__ == "__main__":
    main()
