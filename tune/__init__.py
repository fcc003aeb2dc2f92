"""Hyperparameter search: Optuna proposes, ASHA stops lagging trials, Ray Tune runs them.

Population-based training is not offered. Its members copy each other's weights during training, for
which each must stop and restart its workers once per segment: 10 to 20 s on two CPUs, as much as a
whole trial of the demo's models takes. ASHA stops a bad trial after its first epochs without that,
and Optuna learns from all trials that have ended.
"""
