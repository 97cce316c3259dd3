"""Runs a program of this package: `python -m local demo`. Ctrl-C ends it in one line, also while it is imported."""

import sys
from importlib import import_module


def main() -> int:
    """Run the program that the first argument names and return its exit status."""
    try:
        status: int = import_module(f"local.{sys.argv.pop(1)}").main()
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Nothing is left.\n")
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
