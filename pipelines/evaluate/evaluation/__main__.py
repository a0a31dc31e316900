"""The step's program: measures, judges, writes the output folder, and ends with 0 whatever the verdict is.

An inconclusive verdict is no failure of the step: who submitted reads it from metrics.json.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from evaluation import gate
from evaluation.refusal import Refusal
from evaluation.settings import parse


def main(argv: Sequence[str] | None = None) -> int:
    # Read when torch is imported, later: threads that wait by spinning make busy cores many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        gate.run(parse(argv))
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr, flush=True)
        return 1
    except OSError as error:
        print(f"error: {error.strerror or error}: '{error.filename or ''}'", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
