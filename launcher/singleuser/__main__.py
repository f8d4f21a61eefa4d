"""`python -m launcher.singleuser`."""

import sys

from launcher.singleuser.entry import main

sys.exit(main())
