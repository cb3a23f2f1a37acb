"""Analysis of a listening test: counts, intervals, significance test, figure."""

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from samplernn_theano.data.manifest import count_of
from samplernn_theano.errors import DataError
from samplernn_theano.listening import responses, statistics, store, waet
from samplernn_theano.listening.responses import Listener, Test
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.plotting import new_figure, save_figure
from samplernn_theano.utils.text import escape_control_characters, format_table

FEW_DECIDED = 6  # minimum number of votes for a remark that all are on the same side
SHARES = {"a_votes": "share_a", "none": "share_none", "b_votes": "share_b"}
"""Keys of a pair in a summary: a count and its share."""

COLOURS = ("#0072b2", "#d9d9d9", "#e69f00")
"""Colours of A, no preference and B, from Okabe and Ito's colour-blind-safe palette."""


def read_all(folder: Path, test: Test, files: Sequence[Path]) -> tuple[list[Listener], list[str], int]:
    """The listeners, each under a name of their own, a sentence for each result left out, and the repeats.

    They are those stored by the server, the files in `folder`/results, and `files`.
    """
    found, problems = store.read(folder / store.STORE, test)
    own = sorted(p for p in (folder / "results").glob("*") if p.suffix in (".json", ".xml"))
    for path in [*own, *files]:
        try:
            if path.suffix == ".xml":
                found.append(waet.read_saved(path, test))
            else:
                with open(path, "rb") as file:
                    found.append(responses.parse(file.read(responses.MAX_BYTES + 1), test)[0])
        except (DataError, OSError) as error:
            problems.append(f"{path} is left out: {error}")
    different = list({(listener.name, listener.votes): listener for listener in reversed(found)}.values())[
        ::-1
    ]
    return _named(different), problems, len(found) - len(different)


def _named(listeners: Sequence[Listener]) -> list[Listener]:
    """The listeners, each under a name of their own, with remarks on those who may have voted before."""
    named: dict[str, Listener] = {}
    first: dict[str, str] = {}  # the names by token
    for listener in listeners:
        name, remarks = responses.free_name(listener.name, named), listener.remarks
        if listener.token in first:
            remarks += (f"voted with the link of {first[listener.token]}",)
        elif name != listener.name and not listener.token:
            remarks += (f"may be {listener.name}, with other votes",)
        if listener.token:
            first.setdefault(listener.token, name)
        named[name] = replace(listener, name=name, remarks=remarks)
    return list(named.values())


def tabulate(
    listeners: Sequence[Listener], test: Test, names: Mapping[str, str], systems: Sequence[str]
) -> NDArray[np.int64]:
    """The votes as rows (votes, 6): listener, systems A and B, sounds A and B, and 1 for A, 0, or -1 for B.

    Systems are numbered as in `systems`, listeners and sounds in any order.
    """
    system = {sound: systems.index(names[own]) for sound, own in test.system_of.items()}
    number = {sound: i for i, sound in enumerate(test.system_of)}
    votes = [
        (i, system[v.a], system[v.b], number[v.a], number[v.b], {"a": 1, "none": 0, "b": -1}[v.vote])
        for i, listener in enumerate(listeners)
        for v in listener.votes
    ]
    return np.array(votes, np.int64).reshape(-1, 6)


def votes_on(votes: NDArray[np.int64], system: int) -> NDArray[np.int64]:
    """The rows of `tabulate` with a system, turned so that it is A."""
    turned = votes[:, [0, 2, 1, 4, 3, 5]] * [1, 1, 1, 1, 1, -1]
    both = np.concatenate([votes, turned])
    return both[both[:, 1] == system]


def summary(folder: Path, files: Sequence[Path] = (), exclude_flagged: bool = False) -> dict[str, Any]:
    """Analyse the votes of the listening test in `folder`, and those in `files` outside of it.

    With `exclude_flagged` listeners with unusual votes are left out (see `check_listener`).

    Returns
    -------
    dict
        title; listeners and votes, counts; systems, names, the most preferred first; pairs, each with a, b
        (names, a the more preferred system), listeners, sounds_a, sounds_b (numbers of those with votes),
        a_votes, none, b_votes, their shares share_a, share_none, share_b, and preference, the share for a
        with half of none, each with value, low and high; p_value, of a preference of 1/2, and p_holm, which
        is corrected; ranking, each with system and score, its preference averaged over the others; checks,
        remarks on single listeners; excluded, the number of listeners left out because of them; problems,
        results left out; duplicates, the same results again. Limits are those of 95 % intervals; these and
        the p-values are over listeners and sounds (see `statistics.estimate`). Without votes they are None.
    """
    test = responses.read_test(folder)
    names = responses.read_names(folder, test)
    everybody, problems, duplicates = read_all(folder, test, files)
    checks = [check_listener(listener, test) for listener in everybody]
    listeners = [
        listener for listener, own in zip(everybody, checks, strict=True) if not (own and exclude_flagged)
    ]
    systems = sorted(names[system] for system in set(test.system_of.values()))
    votes = tabulate(listeners, test, names, systems)
    scores = [_estimate(votes_on(votes, i)) for i in range(len(systems))]
    values = [-1.0 if score is None else score.value for score in scores]
    order = sorted(range(len(systems)), key=lambda i: -values[i])
    pairs = [_pair(votes, systems, i, j) for i, j in combinations(order, 2)]
    voted = [pair for pair in pairs if pair["p_value"] is not None]
    for pair, p in zip(voted, statistics.holm([pair["p_value"] for pair in voted]), strict=True):
        pair["p_holm"] = p
    return {
        "title": test.title,
        "listeners": len(listeners),
        "votes": sum(len(listener.votes) for listener in listeners),
        "systems": [systems[i] for i in order],
        "pairs": pairs,
        "ranking": [{"system": systems[i], "score": _share(scores[i])} for i in order],
        "checks": [sentence for own in checks for sentence in own],
        "excluded": len(everybody) - len(listeners),
        "problems": problems,
        "duplicates": duplicates,
    }


def _pair(votes: NDArray[np.int64], systems: Sequence[str], i: int, j: int) -> dict[str, Any]:
    votes = votes_on(votes, i)
    votes = votes[votes[:, 2] == j]
    found: dict[str, Any] = {"a": systems[i], "b": systems[j]}
    for name, column in (("listeners", 0), ("sounds_a", 3), ("sounds_b", 4)):
        found[name] = len(np.unique(votes[:, column]))
    for (name, share), vote in zip(SHARES.items(), (1, 0, -1), strict=True):
        which = votes[:, 5] == vote
        found |= {name: int(which.sum()), share: _share(_estimate(votes, which))}
    preference = _estimate(votes)
    p = None if preference is None else preference.p_value
    return found | {"preference": _share(preference), "p_value": p, "p_holm": None}


def _estimate(votes: NDArray[np.int64], values: NDArray[Any] | None = None) -> statistics.Estimate | None:
    """Estimate the mean of `values`, by default the preference for the system, of votes on it, if any."""
    if not len(votes):
        return None
    values = (votes[:, 5] + 1) / 2 if values is None else values
    return statistics.estimate(values, votes[:, [0, 3, 4]].T, votes[:, 2])


def _share(found: statistics.Estimate | None) -> dict[str, float | None]:
    return {name: None if found is None else getattr(found, name) for name in ("value", "low", "high")}


def check_listener(listener: Listener, test: Test) -> list[str]:
    """Sentences about unusual votes of a listener."""
    name, votes = escape_control_characters(listener.name), listener.votes
    sides = [vote.vote for vote in votes if vote.vote != "none"]
    quick = sum(vote.seconds is not None and responses.is_short(vote.seconds, test.heard) for vote in votes)
    not_played = sum(not (vote.plays_a and vote.plays_b) for vote in votes)
    shown = len(votes) + listener.unanswered
    remarks = {
        f"always preferred {''.join(sides[:1]).upper()} ({len(sides)} votes)": len(sides) >= FEW_DECIDED
        and len(set(sides)) == 1,
        f"never had a preference ({len(votes)} votes)": len(votes) >= FEW_DECIDED and not sides,
        f"voted on {quick} of {len(votes)} pairs within the {test.heard:g} s of both sounds": quick,
        f"voted on {not_played} of {len(votes)} pairs without playing both sounds": not_played,
        f"left {listener.unanswered} of {shown} pairs without a vote": listener.unanswered,
    }
    found = [remark for remark, holds in remarks.items() if holds]
    return [f"{name} {escape_control_characters(remark)}" for remark in [*found, *listener.remarks]]


def run(
    folder: Path, files: Sequence[Path], out: Path | None, csv: Path | None, exclude_flagged: bool = False
) -> int:
    """Print, draw to `out` and write to `csv` the analysis of a test; return 2 if a result was left out."""
    found = summary(folder, files, exclude_flagged)
    for problem in found["problems"]:
        print(f"samplernn: {problem}", file=sys.stderr)
    if found["excluded"] and not found["votes"]:
        raise DataError("Every listener has unusual votes; without --exclude flagged they are listed.")
    if not found["votes"]:
        raise DataError(f"There are no votes in {folder} yet; collect some, or name result files.")
    print(describe(found), flush=True)
    for path, write, kind in ((csv, write_csv, "table"), (out, draw, "figure")):
        if path:
            write(path, found)
            print(f"Wrote the {kind} {path}")
    return 2 if found["problems"] else 0


def describe(found: Mapping[str, Any]) -> str:
    """Format a summary as text."""
    counts = f"{count_of(found['listeners'], 'listener')}, {count_of(found['votes'], 'vote')}"
    title = f"{escape_control_characters(found['title'])}: {counts}"
    title += f" ({found['duplicates']} duplicate results are counted once)" if found["duplicates"] else ""
    rows = [["A", "B", "votes", "A", "none", "B", "preference", "p", "p (Holm)"]]
    for pair in found["pairs"]:
        cells = [f"{pair[n]}: {_percent(pair[s])}" for n, s in SHARES.items()]
        p_values = ("-" if pair[n] is None else _p(pair[n]) for n in ("p_value", "p_holm"))
        votes = str(sum(pair[n] for n in SHARES))
        rows.append([pair["a"], pair["b"], votes, *cells, _percent(pair["preference"]), *p_values])
    ranking = [[entry["system"], _percent(entry["score"])] for entry in found["ranking"]]
    head = [
        "Votes for A, for none and for B; preference for A, if no preference is half a vote, and p of 50 %.",
        "The 95 % intervals and p are over listeners and sounds: what other listeners would say of other",
        "sounds of these systems.",
    ]
    lines = [title, "", *head, *format_table(rows, right=(2,)), *few(found)]
    lines += ["", "Mean preference over the other systems, also over listeners and sounds:"]
    lines += format_table(ranking)
    if found["checks"]:
        left_out = f"{count_of(found['excluded'], 'listener')} left out"
        what = left_out if found["excluded"] else "all are counted; see --exclude flagged"
        lines += ["", f"Unusual votes ({what}):", *(f"  {check}" for check in found["checks"])]
    return "\n".join(lines)


def few(found: Mapping[str, Any]) -> list[str]:
    """A note if there are too few listeners or sounds for any corrected p-value to reach 0.05."""
    voted = [pair for pair in found["pairs"] if pair["p_value"] is not None]
    numbers = [{name: pair[name] for name in ("listeners", "sounds_a", "sounds_b")} for pair in voted]
    if not numbers:
        return []
    most = max(numbers, key=lambda own: min(own.values()))  # of the pair that allows most
    units = min(most.values())
    if (p := statistics.lowest_p(units)) * len(voted) <= 0.05:
        return []
    sounds = f"{count_of(units, 'sound')} of a system"
    what = count_of(units, "listener") if most["listeners"] == units else sounds
    limits = f"p cannot be below {p:.2g}, nor p (Holm) below {min(1.0, p * len(voted)):.2g}"
    return [f"With only {what} {limits}, however many votes: no difference is significant at 5 %."]


def _percent(share: Mapping[str, Any]) -> str:
    if share["value"] is None:
        return "-"
    value, low, high = (100 * share[name] for name in ("value", "low", "high"))
    return f"{value:.0f} % [{low:.0f}, {high:.0f}]"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def write_csv(path: Path, found: Mapping[str, Any]) -> None:
    """Write a row for each pair of systems, with all numbers."""
    rows = []
    for pair in found["pairs"]:
        row = {name: pair[name] for name in ("a", "b", *SHARES)}
        row["votes"] = sum(pair[name] for name in SHARES)
        for which in (*SHARES.values(), "preference"):
            row |= {f"{which}_{name}".removesuffix("_value"): limit for name, limit in pair[which].items()}
        p = "p_over_listeners_and_sounds"
        rows.append(row | {p: pair["p_value"], f"{p}_holm": pair["p_holm"]})
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw(path: Path, found: Mapping[str, Any]) -> None:
    """Draw a summary as stacked bars, one for each pair of systems, as in the paper's figures 3 and 4."""
    pairs = found["pairs"]
    figure = new_figure(9, 1.6 + 0.85 * len(pairs))
    axes = figure.subplots()
    for row, pair in enumerate(pairs):
        _draw_bar(axes, row, pair)
    axes.set(xlim=(0, 100), ylim=(len(pairs) - 0.5, -0.5), xlabel="votes (%)")
    right = axes.twinx()
    right.set_ylim(axes.get_ylim())
    for side, name in ((axes, "a"), (right, "b")):
        names = [escape_control_characters(pair[name]) for pair in pairs]
        side.set_yticks(range(len(pairs)), names, parse_math=False)
        side.tick_params(axis="y", length=0)
        side.spines[["top", "left", "right"]].set_visible(False)
    excluded = f" ({found['excluded']} left out)" if found["excluded"] else ""
    about = f"listeners: {found['listeners']}{excluded}"
    about += "; 95 % intervals and p (Holm) over listeners and sounds"
    figure.suptitle(f"{found['title']}\n{about}", fontsize=10)
    labels = ("left preferred", "no preference", "right preferred")
    handles = [Patch(facecolor=colour, label=label) for colour, label in zip(COLOURS, labels, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    save_figure(path, figure)


def _draw_bar(axes: Axes, row: int, pair: Mapping[str, Any]) -> None:
    whole = sum(pair[name] for name in SHARES)
    if not whole:
        axes.text(50, row, "no votes", ha="center", va="center", fontsize=9, color="0.4")
        return
    left = 0.0
    for name, colour, ink in zip(SHARES, COLOURS, ("white", "black", "black"), strict=True):
        width = 100 * pair[name] / whole
        axes.barh(row, width, left=left, height=0.44, color=colour, edgecolor="white", lw=1)
        if pair[name]:
            label = f"{pair[name]} ({width:.0f} %)" if width >= 12 else str(pair[name])
            axes.text(left + width / 2, row, label, ha="center", va="center", fontsize=9, color=ink)
        left += width
    # Below, the intervals of both shares: of A from the left end, of B from the right end.
    for which, height, colour in (("share_a", 0.29, COLOURS[0]), ("share_b", 0.37, COLOURS[2])):
        limits = np.array([100 * pair[which][name] for name in ("low", "value", "high")])
        low, value, high = limits if which == "share_a" else 100 - limits
        axes.plot([low, high], [row + height] * 2, color=colour, lw=1.6, marker="|", ms=5, clip_on=False)
        axes.plot(value, row + height, color=colour, marker="o", ms=4, clip_on=False)
    label = f"{whole} votes, p: {_p(pair['p_holm'])}"
    axes.text(0, row - 0.25, label, va="bottom", fontsize=8, color="0.35")
