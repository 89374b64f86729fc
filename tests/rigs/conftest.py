"""Where the rigs find each other."""

import sys
from pathlib import Path

# The rigs' own programs import `workload` too, from their own folder.
sys.path.insert(0, str(Path(__file__).parent))
