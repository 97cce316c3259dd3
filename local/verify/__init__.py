"""`make verify`: proves a deployment, and what is assumed about AWS, in the account of the caller.

This is the only program of the project that reads credentials. It uses nothing of the local AWS.
"""

import sys
from pathlib import Path

# Like the tests, with the function's source first: `lambda` is a source root, never a package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "lambda"))
