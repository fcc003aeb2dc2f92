"""Benchmark: speed as ratios measured side by side in one run.

On this machine:    python jobs/benchmark.py features
On a cluster:       ray job submit --working-dir . -- python jobs/benchmark.py features

features    the six features against librosa: CPU time a clip, and how far from librosa they are
pipeline    extraction through Ray against a bare loop over the same clips
storage     bytes and milliseconds of each feature and precision
"""

import importlib
import sys

BENCHMARKS = ("features", "pipeline", "storage")


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
        print(__doc__)
        return 0 if sys.argv[1:] in (["--help"], ["-h"]) else 2
    return importlib.import_module(f"musicrec.benchmarks.{sys.argv[1]}").run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
