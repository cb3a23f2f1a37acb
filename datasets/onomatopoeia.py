"""Make a set like the paper's Onomatopoeia set: the same as `samplernn data onomatopoeia`.

python datasets/onomatopoeia.py --source FOLDER --out data/onom
"""

import sys

from samplernn_theano.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["data", "onomatopoeia", *sys.argv[1:]]))
