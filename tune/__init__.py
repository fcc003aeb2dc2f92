"""The search for better settings of one training: Optuna proposes, ASHA stops what lags behind, Ray Tune runs the trials.

Population-based training is not offered. Its members copy each other's weights as they go on, for which each has to end and start its
workers once a segment: 10 to 20 s on two CPUs, as much as a whole trial of the demo's models takes. ASHA stops a bad trial after its first
epochs without any of that, and Optuna learns from all that have ended.
"""
