"""Verify our models against data of the authors' code.

A case was made by running the original: a command line, initial parameters, minibatches, costs, states,
logits, gradients and parameters after updates. The model is built from the command line. All other quantities
are computed from the original's initial parameters, so that one difference does not hide another. Cases of
the paper's size hold less, and others a learning curve; see `fingerprints` and `curves`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from samplernn_theano.backends.compile import (
    check_backend,
    check_devices,
    check_precision,
    compile_function,
    default_backend,
)
from samplernn_theano.config.flags import from_original_argv
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.config.schedule import original_learning_rate
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import SPLITS, Clips, load_split
from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.models.build import build_graph, build_shard_graph
from samplernn_theano.models.graph import FORMS, Form, Graph, batch_variables, zero_states
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.training import optimizer
from samplernn_theano.utils.text import format_table
from samplernn_theano.verification import curves, fingerprints
from samplernn_theano.verification.cases import Case, choose_cases, find_corpus
from samplernn_theano.verification.tolerances import TOLERANCES, Check

CORPUS_FOLDERS = {"MUSIC": "music", "BLIZZ": "Blizzard"}


class IncompleteCaseError(DataError):
    """A case lacks a quantity that every case of its family has."""


def check_case(
    case: Case,
    backend: str | None = None,
    form: Form = "fast",
    corpus: Path | None = None,
    precision: str = "highest",
    n_devices: int = 1,
) -> Iterator[Check]:
    """Compare all quantities of `case`.

    Without `corpus` the minibatches and monitor costs are omitted. If the parameters of the case have other
    names or shapes than ours, nothing else is compared. `precision` and `n_devices` are as in
    `compile_function`.
    """
    if case.family not in FAMILIES:
        raise DataError(f"{case.name} is a case of {case.family}, which is not implemented.")
    if form not in FORMS:
        raise HyperParameterError(f"There is no form {form}; choose from {', '.join(FORMS)}.")
    backend = backend or default_backend()
    hp, which_set = from_original_argv(FAMILIES[case.family], case.settings["argv"])
    options: dict[str, Any] = {"backend": backend, "precision": precision, "n_devices": n_devices}
    folder = CORPUS_FOLDERS.get(which_set)
    try:
        if case.has_curve:
            trainer = curves.compile_case(case, hp, form=form, **options)
            checks = curves.checks(case, trainer, curves.demo_clips())
        else:
            graph = build_shard_graph(Parameters(dtype=case.dtype), hp, form, n_devices)
            verification = Verification(case, hp, graph, options | {"batched": batch_variables(graph)})
            checks = verification.checks(corpus / folder if corpus and folder else None)
        for check in checks:
            yield replace(check, backend=backend)
    except KeyError as error:
        raise IncompleteCaseError(f"{case.name} lacks {error}, which every case of its family has") from error


@dataclass(frozen=True)
class Verification:
    """A case, and our model of it."""

    case: Case
    hp: HyperParameters
    graph: Graph
    options: Mapping[str, Any]  # of `compile_function`

    def checks(self, corpus: Path | None) -> Iterator[Check]:
        """All quantities; `corpus` has the clips of the case."""
        case, params = self.case, self.graph.parameters
        if wrong := sorted(set(params) ^ set(case.group("init/"))):
            yield case.difference("names of the parameters", "random state", np.inf, note=wrong[0])
            return
        if case.has_fingerprints:
            yield from fingerprints.checks(case, self.hp, self.graph, lambda: self.compile_step("train"))
            return
        initial = list(self.initial())
        yield from initial
        if not all(np.isfinite(check.absolute) for check in initial):
            return  # shapes differ: it is another model
        clips = {split: load_split(corpus, split) for split in SPLITS} if corpus else {}
        if clips:
            yield from self.minibatches(clips["train"])
        yield from self.evaluations()
        yield from self.training("train")
        if self.graph.ip_cost is not None:
            yield from self.training("ip")
            yield from self.training("other")
        if clips:
            for moment in ("init", "after30"):
                params.assign(case.group("init/"))
                params.assign(case.group(f"{moment}/"))
                yield from self.monitor(moment, clips)

    def initial(self) -> Iterator[Check]:
        """The parameters drawn from seed 123, and the generator's state after all draws."""
        case, params = self.case, self.graph.parameters
        ours, theirs = params.arrays(), case.group("init/")
        normal = {draw[1] + ".W0" for draw in case.settings["draws"] if draw[0] == "normal"}
        drawn = {name for name in theirs if name not in normal and name[:-2] + "W0" not in normal}
        for quantity, kind, names in (
            ("initial parameters, uniform and normal", "initial, drawn", drawn),
            ("initial parameters, orthogonal", "initial, orthogonal", set(theirs) - drawn),
        ):
            found = [case.compare(quantity, kind, ours[n], theirs[n], f"worst: {n}") for n in sorted(names)]
            yield from sorted(found, key=lambda check: check.relative)[-1:]

        assert params.rng is not None
        if self.graph.states:
            # Quirk: the original builds a recurrent network a second time for generation, discards those
            # draws, and then draws initial states, always float32, that have no effect.
            build_graph(params, self.hp, "reference")
        for name, carried in reversed(self.graph.states.items()):
            shape = (case.settings["N_SEQS"] // 2, *carried.type.shape[1:])
            state, key = (params.rng.rand(*shape) - 0.5).astype("float32"), f"fixed_rand_{name}"
            yield case.compare(key, "random state", state, case.arrays[key])
        _, keys, position, has_gauss, cached = params.rng.get_state()  # of the Mersenne Twister
        state = np.append(np.asarray(keys, np.float64), (position, has_gauss, cached))
        parts = [case.arrays[f"rng_end/{part}"].ravel() for part in ("keys", "pos_hasgauss", "cached")]
        yield case.compare("random state after building", "random state", state, np.concatenate(parts))

    def minibatches(self, clips: Clips) -> Iterator[Check]:
        """The first minibatches of the train split."""
        n = len(self.case.arrays["mb/reset"])
        batches = list(islice(minibatches.feed(self.hp, clips), n))
        for name in ("sequences", "reset"):
            ours, theirs = np.stack([getattr(b, name) for b in batches]), self.case.arrays[f"mb/{name}"]
            yield self.case.compare(f"first {n} minibatches: {name}", "minibatches", ours, theirs)

    def evaluations(self) -> Iterator[Check]:
        """Cost, states, logits and gradients at the initial parameters: two chunks, then one with a mask."""
        case, graph = self.case, self.graph
        graph.parameters.assign(case.group("init/"))
        sequences = case.arrays["mb/sequences"]
        ones = np.ones(sequences[0].shape, graph.mask.dtype)
        zeros = zero_states(graph, self.hp)
        first = self.evaluate(sequences[0], ones, 1, zeros)
        second = self.evaluate(sequences[1], ones, 0, self.states_after(first))
        mask = case.arrays["masked/mask"].astype(ones.dtype)
        masked = self.evaluate(sequences[1], mask, 0, self.states_after(second))
        for prefix, ours in (("eval0/", first), ("eval1/", second), ("masked/", masked)):
            yield from self.evaluation(prefix, ours)
        if graph.ip_cost is not None:
            independent = {key[3:]: value for key, value in first.items() if key.startswith("ip_")}
            yield from self.evaluation("ip_eval0/", independent | {"new_big_h0": first["new_big_h0"]})
        silent = self.evaluate(sequences[0], 0 * ones, 1, zeros)
        wrong = 0.0 if np.isnan(silent["cost"]) == (case.settings["all_zero_mask_cost"] == "nan") else np.inf
        yield case.difference("cost where the mask is all zero: NaN", "cost", wrong, wrong)

    def evaluation(self, prefix: str, ours: Mapping[str, NDArray]) -> Iterator[Check]:
        """The quantities of one chunk."""
        first, last = ours["logits"][0], ours["logits"][:, -1]
        probabilities = softmax(first[:8], axis=1)
        ours = {**ours, "logits_row0": first, "logits_lastpos": last, "probs_row0_first8": probabilities}
        kinds = {"cost": "cost", "new": "states", "grad": "gradient", "logits": "logits", "probs": "logits"}
        for key, theirs in self.case.group(prefix).items():
            if key in ours:
                value = ours[key][: len(theirs)] if key == "logits_row0" else ours[key]
                yield self.case.compare(prefix + key, kinds[re.split("[_/]", key)[0]], value, theirs)
            elif key != "mask":
                yield self.case.difference(prefix + key, "cost", np.inf, note="unknown quantity")

    def training(self, which: optimizer.Objective) -> Iterator[Check]:
        """Updates from the initial parameters, with states carried from chunk to chunk."""
        case, graph, params = self.case, self.graph, self.graph.parameters
        params.assign(case.group("init/"))
        step = self.compile_step(which)
        prefix = "train/" if which == "train" else f"{which}_train/"
        after = "after" if which == "train" else f"{prefix}after"
        sequences, resets = case.arrays["mb/sequences"], case.arrays["mb/reset"]
        mask = np.ones(sequences[0].shape, graph.mask.dtype)
        states, costs = zero_states(graph, self.hp), []
        for i in range(len(case.arrays[prefix + "costs"])):
            cost_i, *states = step(sequences[i], mask, np.asarray(resets[i], np.int32), *states)
            costs.append(np.asarray(cost_i))
            if theirs := case.group(f"{after}{i + 1}/"):
                count = f"{i + 1} update" + "s" * (i > 0)
                quantity, arrays = f"parameters after {count} ({which})", params.arrays()
                # Adam's first steps have the signs of gradients, also of those near zero: a bias that was
                # zero may move the other way. So all parameters are compared as one vector.
                flat, expected = (np.concatenate([x[n].ravel() for n in theirs]) for x in (arrays, theirs))
                yield case.compare(quantity, "parameters after training", flat, expected)
        yield case.compare(prefix + "costs", "costs", np.array(costs), case.arrays[prefix + "costs"])
        for name, state in zip(graph.new_states, states, strict=True):
            if (key := f"{prefix}final_new_{name}") in case.arrays:
                yield case.compare(key, "states after training", np.asarray(state), case.arrays[key])
        if (key := prefix + "ip_test_cost_mb0_after3") in case.arrays:
            ours = self.evaluate(sequences[0], mask, 1, zero_states(graph, self.hp))
            yield case.compare(key, "costs", ours["ip_cost"], case.arrays[key])

    def monitor(self, moment: str, clips: Mapping[str, Clips]) -> Iterator[Check]:
        """The cost of every minibatch of the valid and test splits."""
        for split in ("valid", "test"):
            key = f"monitor_{moment}/{split}_costs"
            states, costs = zero_states(self.graph, self.hp), []
            for batch in minibatches.feed(self.hp, clips[split]):
                mask = batch.mask.astype(self.graph.mask.dtype)
                ours = self.evaluate(batch.sequences, mask, batch.reset, states)
                states = self.states_after(ours)
                costs.append(ours["cost"])
            yield self.case.compare(key, "costs", np.array(costs), self.case.arrays[key])

    # --- compiled functions ---------------------------------------------------------------------------------

    def compile_step(self, which: optimizer.Objective) -> Callable[..., list[Any]]:
        """A function (sequences, mask, reset, *states) -> cost and new states that updates the parameters."""
        cost, trained = optimizer.objective(self.graph, which)
        rate = original_learning_rate(type(self.hp))
        updates, _ = optimizer.adam(cost, trained, rate, n_devices=self.options["n_devices"])
        outputs = [cost, *self.graph.new_states.values()]
        return compile_function(self.graph.inputs, outputs, updates, **self.options)

    @cached_property
    def evaluate(self) -> Callable[..., dict[str, NDArray]]:
        """A function (sequences, mask, reset, states) -> all quantities of a chunk, by name."""
        graph, trainable = self.graph, self.graph.parameters.trainable()
        outputs = {"cost": graph.cost, "logits": graph.logits}
        if graph.ip_cost is not None:
            outputs |= {"ip_cost": graph.ip_cost, "ip_logits": graph.ip_logits}
        for prefix in [key.removesuffix("cost") for key in outputs if key.endswith("cost")]:
            gradients = optimizer.gradients(outputs[f"{prefix}cost"], trainable, self.options["n_devices"])
            outputs |= {f"{prefix}grad/{p.name}": gradient for p, gradient in gradients.items()}
        outputs |= {f"new_{name}": state for name, state in graph.new_states.items()}
        function = compile_function(graph.inputs, list(outputs.values()), **self.options)
        unreached = {f"grad/{p.name}": np.zeros(p.type.shape, p.dtype) for p in trainable}

        def evaluate(sequences: NDArray, mask: NDArray, reset: int, states: list) -> dict[str, NDArray]:
            values = function(sequences, mask, np.asarray(reset, np.int32), *states)
            return unreached | {name: np.asarray(v) for name, v in zip(outputs, values, strict=True)}

        return evaluate

    def states_after(self, quantities: Mapping[str, NDArray]) -> list[NDArray]:
        """The states to carry to the next chunk."""
        return [quantities["new_" + name] for name in self.graph.states]


# --- the report ---------------------------------------------------------------------------------------------


def run(
    folder: str | Path,
    families: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    corpus: str | Path | None = None,
    backend: str | None = None,
    form: Form = "fast",
    brief: bool = False,
    precision: str = "highest",
    n_devices: int = 1,
) -> int:
    """Verify every case in `folder`, print a line per quantity and a summary; return 0 if all passed, else 1.

    A case of a family that is not implemented fails. Cases of other families than `families` are omitted,
    and with several devices those whose batch cannot be split evenly.
    """
    check_backend(backend := backend or default_backend())
    check_precision(backend, precision)
    check_devices(backend, n_devices, batch_size=n_devices)
    cases = choose_cases(folder, families, names)
    clips = Path(corpus) if corpus else find_corpus(folder)
    if clips is None and not all(case.has_fingerprints or case.has_curve for case in cases):
        print("No corpus next to the cases: minibatches and monitor costs are not checked (see --corpus).")
    done: list[Check] = []
    absent = incomplete = uneven = 0
    for case in cases:
        if case.family not in FAMILIES:
            absent += 1
            print(f"{case.name}  the family {case.family} is not implemented  FAIL")
        elif from_original_argv(FAMILIES[case.family], case.settings["argv"])[0].batch_size % n_devices:
            uneven += 1
        else:
            try:
                for check in check_case(case, backend, form, clips, precision, n_devices):
                    done.append(check)
                    if not brief or not check.passed:
                        print(check.line(), flush=True)
            except IncompleteCaseError as error:
                incomplete += 1
                print(f"{error}  FAIL")
    if uneven == len(cases):
        raise DataError(
            f"None of the {uneven} cases in {folder} has a batch that {n_devices} devices can split evenly; "
            "give fewer --devices."
        )
    _summarise(done, f"backend {backend}, form {form}, precision {precision}, devices {n_devices}")
    failed = sum(not check.passed for check in done)
    counts = [f"{len(done) - failed} checks passed, {failed} failed, in {len(cases) - absent - uneven} cases"]
    counts += [f"{absent} cases of families that are not implemented"] * bool(absent)
    counts += [f"{uneven} cases omitted, whose batch {n_devices} devices cannot split"] * bool(uneven)
    counts += [f"{incomplete} cases incomplete"] * bool(incomplete)
    print("; ".join(counts))
    return 1 if failed or absent or incomplete else 0


def _summarise(checks: list[Check], conditions: str) -> None:
    for dtype in sorted({check.dtype for check in checks}):
        print(f"\nWorst of each kind, {dtype}, {conditions}:")
        rows = [["kind", "absolute", "relative", "usual", "tolerance", "where; why a tolerance"]]
        for kind in TOLERANCES:
            found = [check for check in checks if check.kind == kind and check.dtype == dtype]
            for worst in sorted(found, key=lambda check: (not check.passed, check.relative))[-1:]:
                allowed = worst.tolerance
                numbers = (worst.absolute, worst.relative, allowed.measured, allowed.limit)
                where = f"{worst.case} {worst.quantity}; {allowed.reason}"
                rows.append([kind, *(f"{x:.1e}" for x in numbers), where])
        print("\n".join(format_table(rows, right=range(1, 5))))
