"""Make a data set out of a folder of recordings: `samplernn prepare`, for whoever looks for it here."""

import sys

from samplernn_theano.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
