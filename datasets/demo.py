"""Make the synthetic demo set: the same as `samplernn data demo`.

python datasets/demo.py --out DIR
"""

import sys

from samplernn_theano.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["data", "demo", *sys.argv[1:]]))
