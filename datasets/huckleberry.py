"""Make a set of two readers: the same as `samplernn data huckleberry`.

python datasets/huckleberry.py --source FOLDER --out data/huck
"""

import sys

from samplernn_theano.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["data", "huckleberry", *sys.argv[1:]]))
