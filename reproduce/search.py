"""Search for hyper-parameters at random: the same as `samplernn search`; see README.md."""

import sys

from samplernn_theano.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["search", *sys.argv[1:]]))
