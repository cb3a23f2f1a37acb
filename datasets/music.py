"""Make the Music set of the paper: the same as `samplernn data music`.

python datasets/music.py --out data/music
"""

import sys

from samplernn_theano.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["data", "music", *sys.argv[1:]]))
