"""Analysis of a listening test: counts, intervals, significance test, figure."""

import csv
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from samplernn_theano.errors import DataError
from samplernn_theano.listening import responses, statistics, waet
from samplernn_theano.listening.responses import Listener, Test
from samplernn_theano.listening.statistics import NONE, A, B
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.text import escape_control_characters, format_table

FEW_DECIDED = 6
"""Minimum number of votes for a remark that all are on the same side."""

COLOURS = ("#0072b2", "#d9d9d9", "#e69f00")
"""Colours of A, no preference and B, from Okabe and Ito's colour-blind-safe palette."""

# --- reading ------------------------------------------------------------------------------------------------


def read_all(folder: Path, test: Test, files: Sequence[Path]) -> tuple[list[Listener], list[str], int]:
    """Read all results: those stored by the server, the files in `folder`/results, and `files`.

    Returns
    -------
    listeners : list of Listener
        The first result of each listener.
    problems : list of str
        A sentence for each result that is left out.
    duplicates : int
    """
    found: list[Listener] = []
    problems: list[str] = []
    if (store := folder / responses.STORE).exists():
        try:
            found, problems = responses.read_store(store, test)
        except DataError as error:
            problems = [str(error)]
    own = sorted(p for p in (folder / "results").glob("*") if p.suffix in (".json", ".xml"))
    for path in [*own, *files]:
        try:
            found.append(_read_file(path, test))
        except DataError as error:
            problems.append(f"{path} is left out: {error}")
    listeners = list({listener.name: listener for listener in reversed(found)}.values())[::-1]
    return listeners, problems, len(found) - len(listeners)


def _read_file(path: Path, test: Test) -> Listener:
    if path.suffix == ".xml":
        return waet.read_saved(path, test)
    try:
        with open(path, "rb") as file:
            raw = file.read(responses.MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"It cannot be read ({error.strerror}).") from error
    return responses.parse(raw, test)[0]


# --- summary ------------------------------------------------------------------------------------------------


def summary(folder: Path, files: Sequence[Path] = ()) -> dict[str, Any]:
    """Analyse the votes of the listening test in `folder`.

    Parameters
    ----------
    files : sequence of Path
        Results of listeners outside `folder`: JSON files of our page, or XML files saved by the Web Audio
        Evaluation Tool.

    Returns
    -------
    dict
        ``title``; ``listeners`` and ``votes``, counts; ``seconds``, of a sound; ``systems``, names, the most
        preferred first; ``pairs``, each with ``a``, ``b`` (names), ``a_votes``, ``none``, ``b_votes``,
        ``p_value`` (sign-flip test over listeners), ``p_holm`` (corrected; both None without votes) and
        ``share_a``, ``share_none``, ``share_b``; ``matrix``, of rows, the share of votes for the row's system
        against the column's (None on the diagonal); ``ranking``, each with ``system`` and ``score``, its mean
        preference; ``checks``, remarks on single listeners; ``problems``, results left out; ``duplicates``,
        further results of the same listeners. Shares and scores are mappings with ``value`` and its 95 %
        interval ``low`` and ``high`` (None without votes); see `statistics.share`. The interval of a score is
        from the bootstrap alone: too narrow with fewer than about 20 listeners, None with one.

    Raises
    ------
    DataError
        If there is no listening test in `folder`, or its key is of another test.
    """
    test = responses.read_test(folder)
    names = responses.read_names(folder, test)
    listeners, problems, duplicates = read_all(folder, test, files)
    systems = sorted(names[system] for system in set(test.system_of.values()))
    pairs = list(combinations(systems, 2))
    counts = count(listeners, test, names, pairs)
    systems = _ranked(counts.sum(axis=0), pairs, systems)
    pairs = list(combinations(systems, 2))  # A is the preferred system of a pair
    counts = count(listeners, test, names, pairs)
    drawn = statistics.bootstrap(counts) if len(listeners) > 1 else None
    described = _describe_pairs(counts, pairs, drawn)
    return {
        "title": test.title,
        "listeners": len(listeners),
        "votes": int(counts.sum()),
        "seconds": test.seconds,
        "systems": systems,
        "pairs": described,
        "matrix": _matrix(described, systems),
        "ranking": _ranking(counts.sum(axis=0), pairs, systems, drawn),
        "checks": [sentence for listener in listeners for sentence in check_listener(listener, test)],
        "problems": problems,
        "duplicates": duplicates,
    }


def count(
    listeners: Sequence[Listener], test: Test, names: Mapping[str, str], pairs: Sequence[tuple[str, str]]
) -> NDArray[np.int64]:
    """Count the votes of each listener for each pair of systems: (listeners, pairs, 3) for A, none and B."""
    index = {pair: i for i, pair in enumerate(pairs)}
    counts = np.zeros((len(listeners), len(pairs), 3), np.int64)
    for row, listener in enumerate(listeners):
        for vote in listener.votes:
            pair = names[test.system_of[vote.a]], names[test.system_of[vote.b]]
            column = {"a": A, "none": NONE, "b": B}[vote.vote]
            if pair not in index:  # presented in the other order
                pair, column = pair[::-1], B - column
            counts[row, index[pair], column] += 1
    return counts


def _ranked(counts: NDArray[np.int64], pairs: Sequence[tuple[str, str]], systems: list[str]) -> list[str]:
    scores = statistics.mean_preference(counts, pairs, systems)
    return sorted(systems, key=lambda name: -np.nan_to_num(scores[name], nan=-1.0))


def _describe_pairs(
    counts: NDArray[np.int64], pairs: Sequence[tuple[str, str]], drawn: NDArray[np.int64] | None
) -> list[dict[str, Any]]:
    described = []
    for i, (a, b) in enumerate(pairs):
        votes, whole = counts[:, i].sum(axis=0), int(counts[:, i].sum())
        differences = counts[:, i, A] - counts[:, i, B]
        pair: dict[str, Any] = {
            "a": a,
            "b": b,
            "a_votes": int(votes[A]),
            "none": int(votes[NONE]),
            "b_votes": int(votes[B]),
            "p_value": statistics.sign_flip_test(differences) if whole else None,
        }
        shares = None
        if drawn is not None:
            with np.errstate(invalid="ignore"):
                shares = drawn[:, i] / drawn[:, i].sum(axis=1, keepdims=True)
        for which, column in (("share_a", A), ("share_none", NONE), ("share_b", B)):
            one = None if shares is None else shares[:, column]
            pair[which] = statistics.share(int(votes[column]), whole, one)
        described.append(pair)
    for pair, p in zip(described, statistics.holm([pair["p_value"] for pair in described]), strict=True):
        pair["p_holm"] = p
    return described


def _matrix(pairs: Sequence[Mapping[str, Any]], systems: Sequence[str]) -> list[list[Any]]:
    shares = {}
    for pair in pairs:
        shares[pair["a"], pair["b"]] = pair["share_a"]
        shares[pair["b"], pair["a"]] = pair["share_b"]
    return [[shares.get((row, column)) for column in systems] for row in systems]


def _ranking(
    counts: NDArray[np.int64],
    pairs: Sequence[tuple[str, str]],
    systems: Sequence[str],
    drawn: NDArray[np.int64] | None,
) -> list[dict[str, Any]]:
    scores = statistics.mean_preference(counts, pairs, systems)
    others = {} if drawn is None else statistics.mean_preference(drawn, pairs, systems)
    ranking = []
    for system in systems:
        value = float(scores[system])
        limits = statistics.interval(others[system]) if system in others else None
        low, high = limits or (None, None)
        score = {"value": value if np.isfinite(value) else None, "low": low, "high": high}
        ranking.append({"system": system, "score": score})
    return ranking


def check_listener(listener: Listener, test: Test) -> list[str]:
    """Sentences about unusual votes of a listener, which are counted nevertheless."""
    name, votes = escape_control_characters(listener.name), listener.votes
    sides = [vote.vote for vote in votes if vote.vote != "none"]
    remarks = []
    if len(sides) >= FEW_DECIDED and len(set(sides)) == 1:
        remarks.append(f"{name} always preferred {sides[0].upper()} ({len(sides)} votes)")
    if len(votes) >= FEW_DECIDED and not sides:
        remarks.append(f"{name} never had a preference ({len(votes)} votes)")
    if quick := sum(vote.seconds is not None and vote.seconds < test.seconds for vote in votes):
        remarks.append(
            f"{name} voted on {quick} of {len(votes)} pairs within the {test.seconds:g} s of a sound"
        )
    if not_played := sum(not (vote.plays_a and vote.plays_b) for vote in votes):
        remarks.append(f"{name} voted on {not_played} of {len(votes)} pairs without playing both sounds")
    if listener.unanswered:
        shown = len(votes) + listener.unanswered
        remarks.append(f"{name} left {listener.unanswered} of {shown} pairs without a vote")
    return remarks


# --- output -------------------------------------------------------------------------------------------------


def run(folder: Path, files: Sequence[Path], out: Path | None, csv: Path | None) -> int:
    """Print the analysis of the listening test in `folder`; draw it to `out` and write it to `csv` if given.

    Returns
    -------
    int
        The exit code: 2 if a result was left out.

    Raises
    ------
    DataError
        If there is no listening test, or nobody has voted.
    OutputError
        If the figure or table cannot be written.
    """
    found = summary(folder, files)
    for problem in found["problems"]:
        print(f"samplernn: {problem}", file=sys.stderr)
    if not found["votes"]:
        raise DataError(f"There are no votes in {folder} yet; collect some, or name result files.")
    print(describe(found), flush=True)
    if csv:
        write_csv(csv, found)
        print(f"Wrote the table {csv}")
    if out:
        draw(out, found)
        print(f"Wrote the figure {out}")
    return 2 if found["problems"] else 0


def describe(found: Mapping[str, Any]) -> str:
    """Format a summary as text."""
    people = f"{found['listeners']} listener" + "s" * (found["listeners"] != 1)
    title = f"{escape_control_characters(found['title'])}: {people}, {found['votes']} votes"
    title += f" ({found['duplicates']} duplicate results are counted once)" if found["duplicates"] else ""
    rows = [["A", "B", "votes", "A", "none", "B", "p", "p (Holm)"]]
    for pair in found["pairs"]:
        whole = pair["a_votes"] + pair["none"] + pair["b_votes"]
        cells = [f"{pair[n]}: {_percent(pair[s])}" for n, s in _COUNTS]
        rows.append([pair["a"], pair["b"], str(whole), *cells, _p(pair["p_value"]), _p(pair["p_holm"])])
    matrix = [["", *found["systems"]]]
    for name, row in zip(found["systems"], found["matrix"], strict=True):
        matrix.append([name, *(_percent(cell) if cell else "-" for cell in row)])
    ranking = [[entry["system"], _percent(entry["score"])] for entry in found["ranking"]]
    head = "Votes for A, for none and for B, with 95 % intervals; p of a sign-flip test over listeners:"
    lines = [title, "", head, *format_table(rows, right=(2,)), *few(found)]
    lines += ["", "The row is preferred to the column:", *format_table(matrix)]
    head = "Mean preference over the other systems (no preference is half); 95 % intervals over listeners,"
    lines += ["", head, "which are too narrow with fewer than about 20:", *format_table(ranking)]
    if found["checks"]:
        lines += ["", "Unusual votes (all are counted):", *(f"  {check}" for check in found["checks"])]
    return "\n".join(lines)


def few(found: Mapping[str, Any]) -> list[str]:
    """A note if there are too few listeners for any corrected p-value to reach 0.05."""
    p = statistics.smallest_p(found["listeners"])
    voted = sum(pair["p_value"] is not None for pair in found["pairs"])
    if p * voted <= 0.05:
        return []
    limits = f"p cannot be below {p:.2g}, nor p (Holm) below {min(1.0, p * voted):.2g}"
    return [f"With so few listeners {limits}, however they vote: no difference is significant at 5 %."]


_COUNTS = (("a_votes", "share_a"), ("none", "share_none"), ("b_votes", "share_b"))


def _percent(share: Mapping[str, Any]) -> str:
    if share["value"] is None:
        return "-"
    value = f"{100 * share['value']:.0f} %"
    return value if share["low"] is None else f"{value} [{100 * share['low']:.0f}, {100 * share['high']:.0f}]"


def _p(value: float | None) -> str:
    return "-" if value is None else _p_sign(value).removeprefix("= ")


def _p_sign(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def write_csv(path: Path, found: Mapping[str, Any]) -> None:
    """Write a row for each pair of systems, with all numbers.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    shares = ("share_a", "share_none", "share_b")
    limits = ("bootstrap_low", "bootstrap_high", "wilson_low", "wilson_high")
    heads = ["a", "b", "votes", "a_votes", "none", "b_votes"]
    for which in shares:
        heads += [which, f"{which}_low", f"{which}_high", *(f"{which}_{limit}" for limit in limits)]
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        test = "p_sign_flip_over_listeners"
        writer.writerow([*heads, test, f"{test}_holm"])
        for pair in found["pairs"]:
            counts = [pair["a_votes"], pair["none"], pair["b_votes"]]
            row = [pair["a"], pair["b"], sum(counts), *counts]
            for which in shares:
                one = pair[which]
                row += [one["value"], one["low"], one["high"]]
                row += [*(one["bootstrap"] or (None, None)), *(one["wilson"] or (None, None))]
            writer.writerow([*row, pair["p_value"], pair["p_holm"]])


# --- figure -------------------------------------------------------------------------------------------------


def draw(path: Path, found: Mapping[str, Any]) -> None:
    """Draw the votes as stacked bars, one for each pair of systems, as in the paper's figures 3 and 4.

    Below each bar are the intervals of both shares, of A from the left end and of B from the right end.

    Parameters
    ----------
    found : mapping
        From `summary`.

    Raises
    ------
    OutputError
        If the figure cannot be written.
    """
    pairs = found["pairs"]
    figure = Figure(figsize=(9, 1.6 + 0.85 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    for row, pair in enumerate(pairs):
        _draw_bar(axes, row, pair)
    axes.set(xlim=(0, 100), ylim=(len(pairs) - 0.5, -0.5), xlabel="votes (%)")
    axes.set_yticks(range(len(pairs)), [pair["a"] for pair in pairs], parse_math=False)
    right = axes.twinx()
    right.set_ylim(axes.get_ylim())
    right.set_yticks(range(len(pairs)), [pair["b"] for pair in pairs], parse_math=False)
    for side in (axes, right):
        side.tick_params(axis="y", length=0)
        side.spines[["top", "left", "right"]].set_visible(False)
    about = f"listeners: {found['listeners']}; 95 % intervals; p of a sign-flip test over listeners (Holm)"
    figure.suptitle(f"{found['title']}\n{about}", fontsize=10, parse_math=False)
    labels = ("left preferred", "no preference", "right preferred")
    handles = [Patch(facecolor=colour, label=label) for colour, label in zip(COLOURS, labels, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _draw_bar(axes: Axes, row: int, pair: Mapping[str, Any]) -> None:
    counts = [pair["a_votes"], pair["none"], pair["b_votes"]]
    whole = sum(counts)
    if not whole:
        axes.text(50, row, "no votes", ha="center", va="center", fontsize=9, color="0.4")
        return
    left = 0.0
    for number, colour, ink in zip(counts, COLOURS, ("white", "black", "black"), strict=True):
        width = 100 * number / whole
        axes.barh(row, width, left=left, height=0.44, color=colour, edgecolor="white", lw=1)
        if number:
            label = f"{number} ({width:.0f} %)" if width >= 12 else str(number)
            axes.text(left + width / 2, row, label, ha="center", va="center", fontsize=9, color=ink)
        left += width
    a, b = pair["share_a"], pair["share_b"]
    _draw_interval(axes, row + 0.29, COLOURS[A], [a["low"], a["value"], a["high"]])
    _draw_interval(axes, row + 0.37, COLOURS[B], [1 - b["high"], 1 - b["value"], 1 - b["low"]])
    label = f"{whole} votes, p {_p_sign(pair['p_holm'])}"
    axes.text(0, row - 0.25, label, va="bottom", fontsize=8, color="0.35")


def _draw_interval(axes: Axes, height: float, colour: str, points: Sequence[float]) -> None:
    """Draw an interval with a dot at its value; `points` are (low, value, high), shares from 0 to 1."""
    low, value, high = (100 * point for point in points)
    axes.plot([low, high], [height] * 2, color=colour, lw=1.6, marker="|", ms=5, clip_on=False)
    axes.plot(value, height, color=colour, marker="o", ms=4, clip_on=False)
