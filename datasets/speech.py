"""Make a set of recorded speech, Debian's telephone prompts: the same as `samplernn data speech`.

python datasets/speech.py --out data/speech
"""

import sys

from samplernn_theano.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["data", "speech", *sys.argv[1:]]))
