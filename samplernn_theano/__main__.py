"""`python -m samplernn_theano` does what the `samplernn` command does."""

from samplernn_theano.cli.main import main

raise SystemExit(main())
