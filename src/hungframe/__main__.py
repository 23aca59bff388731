"""
`python -m hungframe`: the same as `hungframe`.
"""

import sys

from hungframe.cli import main

sys.exit(main())
