"""The command `samplernn data SET`: make a data set of the paper, or one to try with."""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samplernn_theano.cli.data import add_common, add_lengths_and_fractions, report
from samplernn_theano.cli.options import Parser
from samplernn_theano.config.argument_types import positive, positive_int, seed
from samplernn_theano.errors import DataError

if TYPE_CHECKING:
    from samplernn_theano.data.recipes import Recipe

BLIZZARD_SOURCE = """\
The recordings of the Blizzard Challenge 2013 (about 300 h, read by Catherine Byers, given by Lessac
Technologies) may be used for research only, and this project may not pass them on:
  1. Register for them with the Centre for Speech Technology Research, University of Edinburgh: the page of
     the Blizzard Challenge 2013 has the licence. A user name and a password come by mail.
  2. Download Lessac_Blizzard2013_CatherineByers_train.tar.bz2 and unpack it.
  3. Run: samplernn data blizzard --source FOLDER --out data/blizzard
     FOLDER is the unpacked archive; it holds a folder named unsegmented, with a chapter in each mp3 file."""


def add_data(commands: Any) -> None:
    """Add the command `data` with a sub-command for each data set."""
    parser = commands.add_parser("data", help="make a data set of the paper, or one to try with")
    sets = parser.add_subparsers(title="data sets", metavar="SET", required=True, parser_class=Parser)
    for add in (_add_music, _add_blizzard, _add_onomatopoeia, _add_huckleberry, _add_speech, _add_demo):
        add(sets)


# --- options of several sets --------------------------------------------------------------------------------


def _add_units(parser: Parser, help_clips: str) -> None:
    parser.groups["data"].add_argument("--clips", type=positive_int, default=42 * 256, help=help_clips)
    parser.groups["data"].add_argument(
        "--unit", type=positive_int, default=256, help="clips that stay together (default: %(default)s)"
    )


def _add_counts(parser: Parser, clips: int) -> None:
    for split in ("valid", "test"):
        parser.groups["data"].add_argument(
            f"--{split}-clips",
            type=positive_int,
            default=clips,
            help=f"number of clips of the {split} split (default: %(default)s)",
        )


def _add_server(parser: Parser, server: str) -> None:
    text = "another server with the same interface as %(default)s"
    parser.groups["data"].add_argument("--server", default=server, help=text)


def _add_cutting(parser: Parser) -> None:
    parser.groups["data"].add_argument(
        "--stride",
        type=positive,
        default=8.0,
        help="seconds from clip to clip (default: %(default)g; 1 in the authors' script at the paper's time)",
    )
    parser.groups["data"].add_argument(
        "--allow-missing", action="store_true", help="continue without recordings that are missing or damaged"
    )
    add_common(parser)


def _with_cutting(recipe: "Recipe", a: argparse.Namespace, **options: Any) -> "Recipe":
    """`recipe` with these options, and those of `_add_cutting`."""
    return replace(
        recipe,
        stride_seconds=a.stride,
        seed=a.seed,
        strict=not a.allow_missing,
        allow_upsampling=a.allow_upsampling,
        allow_clipping=a.allow_clipping,
        **options,
    )


def _imported(a: argparse.Namespace, parser: Parser, recipe: "Recipe") -> bool:
    """Import the authors' own files if `--source` holds them; return True if it does."""
    from samplernn_theano.data.import_npy import import_npy
    from samplernn_theano.data.set_folder import check_overwrite

    check_overwrite(a.out, recipe.name, a.overwrite)
    if a.source is None or not (a.source / f"{recipe.name}_train.npy").is_file():
        return False
    _check_unused(a, parser, "source out overwrite", "the authors' npy files")
    report(import_npy(a.source, a.out, recipe.set, recipe.name, a.overwrite), a.out)
    return True


def _check_unused(a: argparse.Namespace, parser: Parser, used: str, source: str) -> None:
    """Raise DataError if an option other than those `used` (names, blanks between them) is given."""
    defaults = vars(parser.parse_args(["--source", "", "--out", ""]))
    for name, default in defaults.items():
        if name not in used.split() and getattr(a, name) != default:
            raise DataError(f"--{name.replace('_', '-')} has no effect on {source}; leave it out.")


def _check_missing(missing: list[str], folder: Path, allowed: bool) -> None:
    """Raise DataError with the recordings that are `missing` in a folder, unless that is allowed."""
    from samplernn_theano.data.manifest import listed

    if missing and not allowed:
        lines = "\n".join(listed(f"Missing in {folder}", missing))
        raise DataError(f"{lines}\nAdd them, or pass --allow-missing to continue without them.")


# --- music --------------------------------------------------------------------------------------------------


def _add_music(sets: Any) -> None:
    text = "Make the Music set: Beethoven's 32 piano sonatas, from archive.org."
    parser = sets.add_parser("music", help="Beethoven's 32 piano sonatas, from archive.org", description=text)
    parser.groups["data"].add_argument(
        "--source",
        type=Path,
        help="start from this folder, download nothing: recordings (in a sub-folder per item or not), "
        "the authors' music_{train,valid,test}.npy, or the mirror's numbered clips",
    )
    parser.groups["data"].add_argument(
        "--legacy-count", action="store_true", help="make seconds // 8 - 1 clips, like the authors' script"
    )
    _add_counts(parser, 256)
    _add_server(parser, "https://archive.org")
    _add_cutting(parser)
    parser.set_defaults(command=partial(_music, parser))


def _music(parser: Parser, a: argparse.Namespace) -> int:
    from samplernn_theano.data import prepare, recordings
    from samplernn_theano.data.download import download
    from samplernn_theano.data.recipes import by_counts
    from samplernn_theano.data.sets import music

    if _imported(a, parser, music.RECIPE):
        return 0
    sizes = by_counts(a.valid_clips, a.test_clips)
    recipe = _with_cutting(music.RECIPE, a, sizes=sizes, legacy_count=a.legacy_count)
    folder, missing = a.source, []
    if folder is None:
        folder = a.out / "original"
        missing = download(music.ITEMS, folder, music.FORMATS[:1], a.server)
    found = recordings.find(folder)
    if music.is_mirror(found.recordings):
        _check_unused(a, parser, "source out overwrite allow_missing", "the mirror's clips")
        found, missing = music.in_number_order(found)
        recipe = music.mirror_recipe(recipe)
    else:
        found, absent = music.in_item_order(found)
        missing = missing or absent
    _check_missing(missing, folder, a.allow_missing)
    return report(prepare.build(found, a.out, recipe, a.overwrite, missing=missing), a.out)


# --- blizzard -----------------------------------------------------------------------------------------------


def _add_blizzard(sets: Any) -> None:
    parser = sets.add_parser(
        "blizzard",
        help="audiobooks read by one voice",
        description="Make the Blizzard set: audiobooks read by one voice.",
        epilog=BLIZZARD_SOURCE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.groups["data"].add_argument(
        "--source", type=Path, help="the unpacked recordings (mp3 or wav), or the authors' Blizzard9k_*.npy"
    )
    _add_units(parser, "number of clips (default: %(default)s)")
    parser.groups["data"].add_argument(
        "--choose",
        type=seed,
        metavar="SEED",
        help="draw the clips among all by this seed (default: take the first ones)",
    )
    _add_cutting(parser)
    parser.set_defaults(command=partial(_blizzard, parser))


def _blizzard(parser: Parser, a: argparse.Namespace) -> int:
    from samplernn_theano.data import prepare, recordings
    from samplernn_theano.data.recipes import by_units
    from samplernn_theano.data.sets.speech import BLIZZARD, blizzard_chapters

    if a.source is None or not a.source.is_dir():
        problem = "--source is missing." if a.source is None else f"There is no folder {a.source}."
        raise DataError(f"{problem}\n{BLIZZARD_SOURCE}")
    if _imported(a, parser, BLIZZARD):
        return 0
    recipe = _with_cutting(BLIZZARD, a, sizes=by_units(a.unit), max_clips=a.clips, choice_seed=a.choose)
    found = recordings.find(blizzard_chapters(a.source))
    return report(prepare.build(found, a.out, recipe, a.overwrite), a.out)


# --- onomatopoeia -------------------------------------------------------------------------------------------


def _add_onomatopoeia(sets: Any) -> None:
    about = "short sounds, each a clip of its own length"
    parser = sets.add_parser("onomatopoeia", help=about, description=f"Make a set of {about}.")
    parser.groups["data"].add_argument(
        "--source", type=Path, required=True, help="folder of recordings, also in sub-folders"
    )
    add_lengths_and_fractions(parser, 1.0, 11.0, 0.04)
    add_common(parser)
    parser.set_defaults(command=_onomatopoeia)


def _onomatopoeia(a: argparse.Namespace) -> int:
    from samplernn_theano.data import prepare, recordings
    from samplernn_theano.data.recipes import by_fractions
    from samplernn_theano.data.set_folder import set_files
    from samplernn_theano.data.sets.speech import ONOMATOPOEIA

    recipe = replace(
        ONOMATOPOEIA,
        sizes=by_fractions(a.valid_fraction, a.test_fraction),
        shortest=a.shortest,
        longest=a.longest,
        seed=a.seed,
        allow_upsampling=a.allow_upsampling,
        allow_clipping=a.allow_clipping,
    )
    found = recordings.find(a.source, set_files(a.out, recipe.name))
    return report(prepare.build(found, a.out, recipe, a.overwrite), a.out)


# --- huckleberry --------------------------------------------------------------------------------------------


def _add_huckleberry(sets: Any) -> None:
    about = "two readers of one book"
    parser = sets.add_parser("huckleberry", help=about, description=f"Make a set of {about}.")
    source = parser.groups["data"].add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--source",
        type=Path,
        help="folder with a sub-folder of chapters for each reader, or the authors' npy files",
    )
    source.add_argument(
        "--items", nargs="+", metavar="IDENTIFIER", help="items of archive.org, one for each reader"
    )
    _add_units(parser, "maximum number of clips, half of each reader (default: %(default)s)")
    _add_server(parser, "https://archive.org")
    _add_cutting(parser)
    parser.set_defaults(command=partial(_huckleberry, parser))


def _huckleberry(parser: Parser, a: argparse.Namespace) -> int:
    from samplernn_theano.data import prepare, recordings
    from samplernn_theano.data.download import download
    from samplernn_theano.data.manifest import listed
    from samplernn_theano.data.recipes import by_units
    from samplernn_theano.data.sets.speech import HUCKLEBERRY, LIBRIVOX_FORMATS

    if _imported(a, parser, HUCKLEBERRY):
        return 0
    recipe = _with_cutting(HUCKLEBERRY, a, sizes=by_units(a.unit), max_clips=a.clips)
    folder = a.source
    if a.items:
        if len(set(a.items)) < 2:
            raise DataError("--items names one item; name one for each reader.")
        folder = a.out / "original"
        if missing := download(a.items, folder, LIBRIVOX_FORMATS, a.server):
            raise DataError("\n".join(listed("These items cannot be used", missing)))
    found = recordings.find(folder)
    if a.items:  # the folder may hold those of an earlier command
        found = found._replace(recordings=[own for own in found.recordings if own.speaker in a.items])
    return report(prepare.build(found, a.out, recipe, a.overwrite), a.out)


# --- speech -------------------------------------------------------------------------------------------------


def _add_speech(sets: Any) -> None:
    about = "prompts of a telephone system, from Debian"
    parser = sets.add_parser("speech", help=about, description=f"Make a set of speech: {about}.")
    text = "start from this folder, download nothing: the .deb files, or the folder they were unpacked in"
    parser.groups["data"].add_argument("--source", type=Path, help=text)
    _add_counts(parser, 32)
    _add_server(parser, "https://deb.debian.org/debian")
    _add_cutting(parser)
    parser.set_defaults(command=_speech)


def _speech(a: argparse.Namespace) -> int:
    from samplernn_theano.data import prepare, recordings
    from samplernn_theano.data.recipes import by_counts
    from samplernn_theano.data.set_folder import check_overwrite
    from samplernn_theano.data.sets import prompts
    from samplernn_theano.utils.files import locked

    recipe = _with_cutting(prompts.RECIPE, a, sizes=by_counts(a.valid_clips, a.test_clips))
    check_overwrite(a.out, recipe.name, a.overwrite)
    own = a.out / "original"
    if a.source is None:
        with locked(own):
            prompts.download(own, a.server)
    found, missing = prompts.voices_only(recordings.find(prompts.unpack(a.source or own, own)))
    _check_missing(missing, a.source or own, a.allow_missing)
    manifest = prepare.build(found, a.out, recipe, a.overwrite, missing=missing, extra=prompts.LICENCE)
    return report(manifest, a.out)


# --- demo ---------------------------------------------------------------------------------------------------


def _add_demo(sets: Any) -> None:
    text = "Make the demo set: Beethoven themes on a synthetic piano."
    parser = sets.add_parser("demo", help="Beethoven themes on a synthetic piano", description=text)
    output = parser.groups["output"]
    output.add_argument("--out", type=Path, required=True, help="folder for the set")
    which = parser.groups["data"].add_mutually_exclusive_group()
    which.add_argument(
        "--everything", action="store_true", help="all five themes, with accompaniment, in three keys"
    )
    which.add_argument("--voices", action="store_true", help="no piano: two voices that babble vowels")
    output.add_argument(
        "--example", action="store_true", help="also write a clip as sound, and spectrograms of three"
    )
    output.add_argument("--pieces", action="store_true", help="also write twenty short sounds")
    parser.set_defaults(command=_demo)


def _demo(a: argparse.Namespace) -> int:
    from samplernn_theano.data.sets import demo

    if demo.is_intact(a.out, a.everything, a.voices):
        print(f"The demo set in {a.out} is there and intact.")
    else:
        if a.voices:
            demo.write_voices(a.out)
        else:
            demo.write(a.out, a.everything)
        sizes = demo.VOICE_SPLITS if a.voices else demo.SPLITS
        print(f"Wrote {' / '.join(map(str, sizes.values()))} clips of 8 s to {a.out}.")
    if a.pieces:
        demo.write_short_sounds(a.out)
    if a.example:
        sound, picture = demo.write_example(a.out)
        print(f"To hear and see: {sound}, {picture}")
    return 0
