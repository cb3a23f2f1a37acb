"""Make a data set from a folder of recordings: the same as `samplernn prepare`."""

import sys

from samplernn_theano.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
