"""Reproduce the paper's tables: the same as `samplernn reproduce`; see README.md."""

import sys

from samplernn_theano.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["reproduce", *sys.argv[1:]]))
