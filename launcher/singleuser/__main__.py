"""`python -m launcher.singleuser`."""

import sys

from launcher.singleuser import main

sys.exit(main())
