"""`python -m gossipsync`: the same command line as the installed `gossipsync`."""

import sys

from gossipsync.cli import main

if __name__ == "__main__":
    sys.exit(main())
