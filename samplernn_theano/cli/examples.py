"""Examples of the help of each command, by its words: `samplernn COMMAND --help` begins with them."""

from samplernn_theano.config.hyperparameters import FAMILIES

_TRAIN = """
samplernn train {family} --preset small --data data/mine --run runs/mine --max-minutes 60
samplernn train {family} --preset demo --data data/demo --learning-rate 0.002 --max-iters 2000
samplernn train {family} --data data/mine --run runs/best --max-time 23.5h --resume
"""

EXAMPLES = {
    "": """
samplernn generate pretrained/speech_two_tier
samplernn prepare RECORDINGS --out data/mine
samplernn train three_tier --preset small --data data/mine --run runs/mine --max-minutes 60
samplernn generate runs/mine --seconds 5
""",
    "prepare": """
samplernn prepare RECORDINGS --out data/mine
samplernn prepare RECORDINGS --out data/readers --speakers --split-by speaker
samplernn prepare RECORDINGS --out data/words --variable-length --shortest 0.5 --longest 10
""",
    "data": """
samplernn data demo --out data/demo
samplernn data music --out data/music
""",
    "data music": """
samplernn data music --out data/music
samplernn data music --source RECORDINGS --out data/music
samplernn data music --out data/music_overlap --stride 1
""",
    "data blizzard": """
samplernn data blizzard --source FOLDER --out data/blizzard
samplernn data blizzard --source FOLDER --out data/blizzard_1 --choose 1
""",
    "data onomatopoeia": """
samplernn data onomatopoeia --source FOLDER --out data/onom
samplernn data onomatopoeia --source FOLDER --out data/onom --shortest 0.5 --valid-fraction 0.1
""",
    "data huckleberry": """
samplernn data huckleberry --source FOLDER --out data/huck
samplernn data huckleberry --items ITEM_OF_ONE_READER ITEM_OF_THE_OTHER --out data/huck
""",
    "data speech": """
samplernn data speech --out data/speech
samplernn data speech --source FOLDER --out data/speech
""",
    "data demo": """
samplernn data demo --out data/demo --example
samplernn data demo --out data/voices --voices
""",
    "check-data": """
samplernn check-data data/mine
samplernn check-data data/mine --picture check.png
""",
    "train": """
samplernn train three_tier --preset small --data data/mine --run runs/mine --max-minutes 60
samplernn train two_tier --help
samplernn train --config runs/mine/settings.json --run runs/wider --dim 512
""",
    **{f"train {family}": _TRAIN.format(family=family) for family in FAMILIES},
    "resume": """
samplernn resume runs/mine
samplernn resume runs/mine --max-minutes 120
samplernn resume runs/mine --learning-rate 0.0001 --max-iters 50000
""",
    "show": """
samplernn show runs/mine
samplernn show runs/mine runs/other --picture curves.png
samplernn show runs/mine --page
samplernn show runs/demo --against reference
""",
    "generate": """
samplernn generate runs/mine --seconds 5 --n_seqs 4 --seed 0
samplernn generate runs/mine --n_seqs 100 --temperature 0.9 --top-p 0.98 --format flac --rank
samplernn generate runs/mine --prime talk.wav:1.5:3 --prime song.flac --seconds 20
samplernn generate runs/mine --out - --seconds 600 | aplay -t raw -f S16_LE -r 16000
""",
    "evaluate": """
samplernn evaluate runs/mine --data data/mine
samplernn evaluate runs/mine --data data/mine --split valid --split test --csv clips.csv
samplernn evaluate runs/mine --data data/mine --kept --json scores.json
""",
    "compare": """
samplernn compare results_3t/TAG runs/mine
samplernn compare results_3t/TAG runs/mine --data data/mine --out compare.png
""",
    "score": """
samplernn score talk.wav --checkpoint runs/mine --out curve.png
samplernn score RECORDINGS --checkpoint runs/mine --csv scores.csv
""",
    "inspect": """
samplernn inspect runs/mine
samplernn inspect results_3t/TAG/params/params_e3_i1000_t2.0_tr3.1_v3.2.pkl
""",
    "convert": """
samplernn convert results_3t/TAG runs/theirs
samplernn convert runs/mine theirs --which_set MUSIC
samplernn convert runs/mine mine/model.safetensors
samplernn convert params.pkl model.npz --set q_type=mu-law
""",
    "reproduce": """
samplernn reproduce --list
samplernn reproduce table1/music/three_tier --dry-run
samplernn reproduce table1 table3 --scale laptop --data blizzard=FOLDER --data onomatopoeia=FOLDER
samplernn reproduce table1/music --seeds 3 --profile slurm
""",
    "retention": """
samplernn retention runs/mine --data data/huck
samplernn retention runs/mine --data data/huck --out retention --sounds 10
""",
    "listening-test": """
samplernn listening-test make ours=samples/ours theirs=samples/theirs --out test
samplernn listening-test serve test
samplernn listening-test analyse test
""",
    "listening-test make": """
samplernn listening-test make ours=samples/ours theirs=samples/theirs --out test
samplernn listening-test make a=FOLDER b=FOLDER c=FOLDER --out test --pairs 30 --listeners 12
""",
    "listening-test serve": """
samplernn listening-test serve test
samplernn listening-test serve test --host 0.0.0.0 --port 8080 --url http://lab.example.org:8080/
""",
    "listening-test analyse": """
samplernn listening-test analyse test --out preferences.png
samplernn listening-test analyse test answers/one.json answers/two.json --csv numbers.csv
""",
    "listening-test export-waet": """
samplernn listening-test export-waet test --out project
""",
    "search": """
samplernn search three_tier --data data/mine --study searches/mine --trials 20 --max-minutes 30
samplernn search two_tier --preset demo --data data/demo --study searches/demo --max-iters 500
""",
    "figure": """
samplernn figure waveforms --column music=data/music:out.wav --out figure2.png
""",
    "figure waveforms": """
samplernn figure waveforms --column music=data/music:out.wav --out figure2.png
samplernn figure waveforms --column music=data/music:a.wav --column speech=talk.wav:b.wav --out figure2.pdf
""",
    "pretrained": """
samplernn pretrained
samplernn pretrained speech_two_tier
""",
    "conformance": """
samplernn conformance tests/golden/cases
samplernn conformance tests/golden/cases --family two_tier --brief
samplernn conformance tests/golden/cases --case 1t_gru1 --backend c
""",
    "info": """
samplernn info
samplernn info --backend numba
""",
}
"""Lines of examples."""
