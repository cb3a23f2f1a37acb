"""Make the Blizzard set of the paper: the same as `samplernn data blizzard`.

python datasets/blizzard.py --source FOLDER --out data/blizzard
"""

import sys

from samplernn_theano.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["data", "blizzard", *sys.argv[1:]]))
