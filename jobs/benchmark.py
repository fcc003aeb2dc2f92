"""Benchmark: speed as ratios measured side by side in one run.

On this machine:    python jobs/benchmark.py features
On a cluster:       ray job submit --working-dir . -- python jobs/benchmark.py features

features    the six features against librosa: CPU time a clip, and how far from librosa they are
pipeline    extraction through Ray against a bare loop over the same clips
storage     bytes and milliseconds of each feature and precision
train       trainings through Ray against a bare loop, two workers against one, memory; and the layers
manifest    a catalog of a million tracks: seconds until its extraction works, and the driver's memory
recommend   a batch recommendation for a million tracks: its rate against queries one by one, and the driver's memory
layers      Time and Freq, forward and backward, against torch's own layers
artists     artist embeddings of 109,883 artists: two objectives in the same time, and exact neighbours
"""

import argparse
import importlib
import sys

from musicrec.runtime.allocator import use_one_arena


def main() -> int:
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
        "artists",
    )
    parser.add_argument("benchmark", choices=names)
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, help="the benchmark's own; NAME --help lists them"
    )
    chosen = parser.parse_args()
    use_one_arena()  # as every job does
    return importlib.import_module(f"musicrec.benchmarks.{chosen.benchmark}").run(chosen.options)


if __name__ == "__main__":
    sys.exit(main())
