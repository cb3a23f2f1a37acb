"""The demo set: ten minutes of Beethoven themes on a simple synthetic piano.

The notes are written below, so nothing is downloaded, and every run on one machine gives the same bytes. The
sound is plain (five partials per note, little polyphony, slow tempi), to suit a small model.
Layout and order are those of the paper's Music set: clips of 8 s at 16 kHz, shuffled, float16.

Or a set of two speakers, to measure how long a model keeps a voice (`samplernn retention`): a low and a high
voice that babble vowels, with pauses, laid out as by `samplernn prepare --speakers`.
"""

import functools
import json
import tempfile
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from samplernn_theano.data import prepare, recordings
from samplernn_theano.data.audio import write_wav
from samplernn_theano.data.manifest import MANIFEST, SplitSizes
from samplernn_theano.data.recipes import Recipe
from samplernn_theano.data.set_folder import UNFINISHED, move_in, write_npy
from samplernn_theano.original.shuffle import shuffle
from samplernn_theano.utils import plotting
from samplernn_theano.utils.files import sha256, write_text
from samplernn_theano.utils.text import parse_json

RATE = 16000  # samples per second
CLIP = 8 * RATE  # samples per clip
SPLITS = {"train": 64, "valid": 8, "test": 8}  # clips per split, taken in this order
VOICE_SPLITS = {"train": 32, "valid": 4, "test": 4}  # of the two voices, half of each
SEED = 123
PEAK = 0.7  # largest absolute sample of each performance
SHIFTS = (0, 2, 4)  # transpositions, in semitones
TEMPI = (0.9, 1.0, 1.1)

STRING_SECONDS = 6.0  # longer than any written note
PARTIALS = np.arange(1, 6)
INHARMONICITY = 2e-4  # partial k sounds at k f sqrt(1 + INHARMONICITY k^2)
ATTACK, RELEASE = 0.012, 0.15  # seconds

VOICES = {"high": (220.0, 1.2), "low": (110.0, 1.0)}  # pitch in Hz, factor of the formants below
VOWELS = {  # formants in Hz, roughly a man's
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
BANDWIDTHS = (80, 100, 140)  # of the formants, in Hz

# A theme is the seconds of one unit of length, then its voices, the melody first. A voice is a row of notes
# such as A4, F#3, Bb2 (C4 is middle C), chords such as D3+A3, and rests r. ":3" gives the length in units and
# holds until the next one; bar lines | are for the reader.
type Theme = tuple[float, str, *tuple[str, ...]]
THEMES: dict[str, Theme] = {
    # WoO 59, the opening, its middle part cut short; unit: sixteenth
    "Fur Elise": (
        0.19,
        "E5 D#5 | E5 D#5 E5 B4 D5 C5 | A4:2 r:1 C4 E4 A4 | B4:2 r:1 E4 G#4 B4 | C5:2 r:1 E4 E5 D#5 |"
        " E5 D#5 E5 B4 D5 C5 | A4:2 r:1 C4 E4 A4 | B4:2 r:1 E4 C5 B4 | A4:2 r:1 B4 C5 D5 |"
        " E5:3 G4:1 F5 E5 | D5:3 F4:1 E5 D5 | C5:3 E4:1 D5 C5 | B4:2 r:1 E4 E5 D#5 |"
        " E5 D#5 E5 B4 D5 C5 | A4:2 r:1 C4 E4 A4 | B4:2 r:1 E4 G#4 B4 | C5:2 r:1 E4 E5 D#5 |"
        " E5 D#5 E5 B4 D5 C5 | A4:2 r:1 C4 E4 A4 | B4:2 r:1 E4 C5 B4 | A4:6",
        "r:2 | r:6 | A2:1 E3 A3:4 | E2:1 E3 G#3:4 | A2:1 E3 A3:4 | r:6 | A2:1 E3 A3:4 |"
        " E2:1 E3 G#3:4 | A2:1 E3 A3:4 | C3:1 G3 C4:4 | G2:1 G3 B3:4 | A2:1 E3 A3:4 | E2:1 E3 E4:4 |"
        " r:6 | A2:1 E3 A3:4 | E2:1 E3 G#3:4 | A2:1 E3 A3:4 |"
        " r:6 | A2:1 E3 A3:4 | E2:1 E3 G#3:4 | A2:1 E3 A3:4",
    ),
    # Op. 125, fourth movement; plain chords added; unit: quarter
    "Ode to Joy": (
        0.55,
        "F#4 F#4 G4 A4 | A4 G4 F#4 E4 | D4 D4 E4 F#4 | F#4:1.5 E4:0.5 E4:2 |"
        " F#4:1 F#4 G4 A4 | A4 G4 F#4 E4 | D4 D4 E4 F#4 | E4:1.5 D4:0.5 D4:2 |"
        " E4:1 E4 F#4 D4 | E4 F#4:0.5 G4 F#4:1 D4 | E4 F#4:0.5 G4 F#4:1 E4 | D4 E4 A3:2 |"
        " F#4:1 F#4 G4 A4 | A4 G4 F#4 E4 | D4 D4 E4 F#4 | E4:1.5 D4:0.5 D4:2",
        "D3+A3:4 | A2+E3 | D3+A3 | D3+A3:2 A2+E3 | D3+A3:4 | A2+E3 | D3+A3 | A2+E3:2 D3+A3 |"
        " A2+E3 D3+A3 | A2+E3 D3+A3 | A2+E3 D3+A3 | B2+F#3:1 E3+G#3 A2+E3:2 |"
        " D3+A3:4 | A2+E3 | D3+A3 | A2+E3:2 D3+A3",
    ),
    # Op. 27 no. 2, first movement, bars 1-9, bass in single notes; unit: triplet eighth
    "Moonlight": (
        0.33,
        "r:12 | r | r | r | r:9 G#4:2.25 G#4:0.75 | G#4:9 G#4:2.25 G#4:0.75 | G#4:6 A4 |"
        " G#4 F#4:3 B4 | E4:12",
        "G#3:1 C#4 E4 G#3 C#4 E4 G#3 C#4 E4 G#3 C#4 E4 | G#3 C#4 E4 G#3 C#4 E4 G#3 C#4 E4 G#3 C#4 E4 |"
        " A3 C#4 E4 A3 C#4 E4 A3 D4 F#4 A3 D4 F#4 | G#3 B#3 F#4 G#3 C#4 E4 G#3 C#4 D#4 F#3 B#3 D#4 |"
        " E3 G#3 C#4 G#3 C#4 E4 G#3 C#4 E4 G#3 C#4 E4 | G#3 D#4 F#4 G#3 D#4 F#4 G#3 D#4 F#4 G#3 D#4 F#4 |"
        " G#3 C#4 E4 G#3 C#4 E4 A3 C#4 F#4 A3 C#4 F#4 | G#3 B3 E4 G#3 B3 E4 A3 B3 D#4 A3 B3 D#4 |"
        " G#3 B3 E4 G#3 B3 E4 G#3 B3 E4 G#3:3",
        "C#3:12 | B2 | A2:6 F#2 | G#2 G#2 | C#3:12 | B#2 | C#3:6 F#2 | B2 B2 | E3:12",
    ),
    # Op. 13, second movement, bars 1-8 with the melody of bar 9's octave; unit: sixteenth
    "Pathetique": (
        0.3,
        "C5:4 Bb4 | Eb5:6 Db5:2 | C5 Eb5 Ab5 Bb5 | Eb5:6 E5:2 | F5:4 Bb4:3 C5:0.5 Db5 | Eb5:4 A4 |"
        " Db5 C5:1 Bb4 Ab4 G4 | Bb4:4 Ab4",
        "Ab3 Eb3 Ab3 Eb3 G3 Eb3 G3 Eb3 | Ab3 Eb3 Ab3 Eb3 Bb3 Eb3 Bb3 Eb3 | Ab3 Eb3 Bb3 Eb3 C4 Ab3 D4 Ab3 |"
        " G3 Bb3 G3 Bb3 G3 Bb3 G3 Bb3 | G3 Bb3 G3 Bb3 G3 Eb3 G3 Eb3 | Ab3 Eb3 Ab3 Eb3 Eb3 C3 Eb3 C3 |"
        " F3 Db3 F3 Db3 G3 Db3 G3 Db3 | Db3 Eb3 Db3 Eb3 C3 Eb3 C3 Eb3",
        "Ab2:4 Db3 | C3 G2 | Ab2:2 G2 F2 F2 | Eb3:8 | Db3 | C3:4 F2 | Bb2 Eb3 | Ab2:8",
    ),
    # Op. 49 no. 2, second movement, bars 1-8; unit: sixteenth
    "Minuet": (
        0.15,
        "G4:3 F#4:1 | F#4:8 F#4:3 G4:1 | G4:8 G4:3 B4:1 | D5:6 E5:2 D5 C5 | B4:4 G4 G4:3 F#4:1 |"
        " F#4:8 F#4:3 G4:1 | G4:8 G4:3 B4:1 | D5:6 C#5:2 C5 A4 | G4:12",
        "G3+B3:2 D4 | A3+C4 D4 D3 D4 A3+C4 D4 | G3+B3 D4 D3 D4 G3+B3 D4 | F#3+A3 D4 D3 D4 F#3+A3 D4 |"
        " G3+B3 D4 D3 D4 G3+B3 D4 | A3+C4 D4 D3 D4 A3+C4 D4 | G3+B3 D4 D3 D4 G3+B3 D4 |"
        " r:4 D3+C4 D3+C4 | G3+B3 G2:8",
    ),
}


def pitch(name: str) -> int:
    """MIDI number of a note: A4 is 69, one more per semitone."""
    letter, accidental, octave = name[0], name[1:-1], int(name[-1])
    semitone = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[letter]
    return 12 * (octave + 1) + semitone + accidental.count("#") - accidental.count("b")


def read_voice(voice: str) -> tuple[list[tuple[float, float, int]], float]:
    """Notes of a voice as (start, length, pitch), in units of time, and its total length."""
    notes, now, length = [], 0.0, 1.0
    for token in voice.replace("|", " ").split():
        names, _, written = token.partition(":")
        length = float(written or length)
        if names != "r":
            notes += [(now, length, pitch(name)) for name in names.split("+")]
        now += length
    return notes, now


@functools.cache
def string(key: int) -> np.ndarray:
    """Synthesise an undamped string, float64 (STRING_SECONDS * RATE,): decaying partials and a soft attack.

    High strings decay faster than low ones, and high partials faster than the fundamental.
    """
    fundamental = 440.0 * 2 ** ((key - 69) / 12)
    t = np.arange(round(STRING_SECONDS * RATE)) / RATE
    frequencies = PARTIALS * fundamental * np.sqrt(1 + INHARMONICITY * PARTIALS**2)
    decay = 1.6 * (220 / fundamental) ** 0.7 / np.sqrt(PARTIALS)  # seconds to fall to 1/e
    sound = sum(
        0.5**k * np.sin(2 * np.pi * frequencies[k] * t) * np.exp(-t / decay[k]) for k in range(len(PARTIALS))
    )
    return sound * (0.5 - 0.5 * np.cos(np.pi * np.minimum(t / ATTACK, 1)))


def perform(theme: Theme, shift: int, tempo: float) -> np.ndarray:
    """Play a theme `shift` semitones higher and `tempo` times as fast: float64 (samples,), no DC."""
    seconds, *voices = theme
    unit = seconds / tempo * RATE  # samples
    fade = 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, round(RELEASE * RATE)))
    sound = np.zeros(int(read_voice(voices[0])[1] * unit) + len(fade))
    for voice in voices:
        loudness = 1.0 if voice is voices[0] else 0.5
        for start, length, key in read_voice(voice)[0]:
            begin, end = int(start * unit), int((start + length) * unit)
            tone = loudness * string(key + shift)[: end - begin + len(fade)]
            tone[end - begin :] *= fade
            sound[begin : end + len(fade)] += tone
    sound -= sound.mean()
    return PEAK * sound / np.abs(sound).max()


def recital(samples: int, everything: bool) -> np.ndarray:
    """Play themes repeatedly, in random tempi: float16 (samples,).

    The melody of the Ode to Joy, which a small model learns in minutes; with `everything` all themes with
    their accompaniment, in random orders and keys.
    """
    random = np.random.RandomState(SEED)
    ode = THEMES["Ode to Joy"]
    themes: dict[str, Theme] = THEMES if everything else {"Ode to Joy": (ode[0], ode[1])}
    shifts = SHIFTS if everything else (0,)
    sound: list[np.ndarray] = []
    while sum(map(len, sound)) < samples:
        for name in random.permutation(list(themes)):
            sound.append(perform(themes[name], random.choice(shifts), random.choice(TEMPI)))
    return np.concatenate(sound)[:samples].astype(np.float16)


def syllable(pitch: float, formants: tuple[float, ...], seconds: float, glide: float) -> np.ndarray:
    """Synthesise a vowel, float64 (samples,): glottal pulses through a cascade of resonators.

    The pitch, in Hz, changes by the factor `glide` until the end.
    """
    t = np.linspace(0, 1, round(seconds * RATE))
    periods = np.cumsum(pitch * glide**t / RATE)
    pulses = np.diff(np.floor(periods), prepend=-1.0)
    sound = lfilter([1], [1, -0.9], pulses)  # the glottis: weaker high partials
    for formant, bandwidth in zip(formants, BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * bandwidth / RATE)
        recursion = [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2]
        sound = lfilter([sum(recursion)], recursion, sound)
    sound -= sound.mean()
    return sound / np.abs(sound).max() * np.sin(np.pi * t) ** 0.5


def babble(voice: str, samples: int, random: np.random.RandomState) -> np.ndarray:
    """Random vowels of a voice, with a pause after one in four, and faint noise: float64 (samples,)."""
    pitch, scale = VOICES[voice]
    sound, now = 0.0005 * random.randn(samples), 0
    while now < samples:
        formants = tuple(scale * hertz for hertz in VOWELS[random.choice(list(VOWELS))])
        spoken = syllable(
            pitch * random.uniform(0.9, 1.1), formants, random.uniform(0.15, 0.35), random.uniform(0.85, 1.1)
        )[: samples - now]
        sound[now : now + len(spoken)] += PEAK * random.uniform(0.5, 1.0) * spoken
        now += len(spoken) + (random.randint(RATE // 5, RATE // 2) if random.rand() < 0.25 else RATE // 50)
    return sound


def write_voices(out: Path) -> None:
    """Write the two voices, equal numbers of clips, like `samplernn prepare --speakers`."""
    count, random = sum(VOICE_SPLITS.values()), np.random.RandomState(SEED)
    sizes = SplitSizes(*VOICE_SPLITS.values())
    recipe = Recipe(set="demo voices", name="demo", sizes=lambda _: sizes, by_speaker=True, seed=SEED)
    with tempfile.TemporaryDirectory() as folder:
        for voice in VOICES:
            path = Path(folder) / voice / "babble.wav"
            write_wav(path, babble(voice, count // len(VOICES) * CLIP, random), RATE)
        kind = {"voices": True, "everything": False, "script_sha256": sha256(Path(__file__))}
        prepare.build(recordings.find(folder), out, recipe, overwrite=True, progress=False, extra=kind)


def write(out: Path, everything: bool) -> None:
    """Write demo_{train,valid,test}.npy, float16 (clips, CLIP), and last manifest.json."""
    count = sum(SPLITS.values())
    clips = list(recital(count * CLIP, everything).reshape(count, CLIP))
    shuffle(clips, SEED)
    manifest: dict = {"name": "demo", "everything": everything, "rate": RATE, "clip_seconds": CLIP // RATE}
    manifest["splits"] = {}
    with recordings.staging_directory(out) as work:
        for split, size in SPLITS.items():
            part, clips = np.stack(clips[:size]), clips[size:]
            path = work / "new" / f"demo_{split}.npy"
            write_npy(path, part.shape, [part], "<f2")
            manifest["splits"][split] = {"clips": size, "seconds": part.size / RATE, "sha256": sha256(path)}
            if split == "train":
                manifest["train_mean"] = part.mean(dtype=np.float64)
                manifest["train_std"] = part.std(dtype=np.float64)
        manifest["script_sha256"] = sha256(Path(__file__))
        write_text(work / "new" / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        move_in(work / "new", out, "demo")


def write_short_sounds(out: Path) -> None:
    """Write twenty sounds of 1 to 2 s, pieces/00.wav to 19.wav, to make other sets of."""
    clips = np.load(out / "demo_train.npy", allow_pickle=False)
    for i in range(20):
        write_wav(out / "pieces" / f"{i:02}.wav", clips[i][: RATE + RATE // 20 * i], RATE)


def is_intact(out: Path, everything: bool, voices: bool = False) -> bool:
    """True if `out` holds such a set, made by this version of the module, with the manifest's hashes."""
    try:
        manifest = parse_json((out / "manifest.json").read_text(encoding="utf-8"))
        kind = (manifest["everything"], manifest.get("voices", False), manifest["script_sha256"])
        hashes = {split: manifest["splits"][split]["sha256"] for split in SPLITS}
        finished = kind == (everything, voices, sha256(Path(__file__))) and not (out / UNFINISHED).exists()
        return finished and all(
            expected == sha256(out / f"demo_{split}.npy") for split, expected in hashes.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_example(out: Path) -> tuple[Path, Path]:
    """Write the first training clip as sound, and spectrograms of three; return the two files."""
    clips = np.load(out / "demo_train.npy", allow_pickle=False)[:3]
    sound, picture = out / "demo_example.wav", out / "demo_spectrograms.png"
    write_wav(sound, clips[0], RATE)
    plotting.spectrograms(picture, {f"training clip {i}": clip for i, clip in enumerate(clips)})
    return sound, picture
