"""Runs a serving program so that it ends with the server that started it, even after a `kill -9`.

`python -P -m localcloud.serving.child MODULE ARGUMENTS…` is `python -m MODULE ARGUMENTS…` whose life hangs on its
standard input; the programs themselves can be run by hand without that.
"""

from __future__ import annotations

import runpy
import sys

from localcloud.processes import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
