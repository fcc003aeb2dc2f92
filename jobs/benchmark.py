"""Benchmark: measure speed as ratios, side by side in one run.

On this machine:    python jobs/benchmark.py features
On a cluster:       ray job submit --working-dir . -- python jobs/benchmark.py features

features    the six features against librosa: CPU time per clip, and the largest differences
pipeline    extraction through Ray against a bare loop over the same clips
storage     bytes and milliseconds per feature and precision
train       training through Ray against a bare loop, two workers against one, memory; and layers
manifest    a catalog of a million tracks: seconds to the first block, and the driver's memory
recommend   batch recommendation for a million tracks: rate against single queries, and memory
layers      Time and Freq, forward and backward, against torch's own layers
relate      relations from ten million plays of a planted graph: time, memory, how much comes back
artists     held-out relations of 109,883 artists: objectives, baselines, and exact neighbours
"""

import argparse
import importlib
import sys

from musicrec.runtime.allocator import use_one_arena
from musicrec.runtime.process import prepare


def main() -> int:
    prepare()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = (
        "features",
        "pipeline",
        "storage",
        "manifest",
        "recommend",
        "train",
        "layers",
        "relate",
        "artists",
    )
    parser.add_argument("benchmark", choices=names)
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, help="options of the benchmark; NAME --help lists them"
    )
    chosen = parser.parse_args()
    use_one_arena()  # as every job does
    return importlib.import_module(f"musicrec.benchmarks.{chosen.benchmark}").run(chosen.options)


if __name__ == "__main__":
    sys.exit(main())
