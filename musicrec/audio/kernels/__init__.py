"""Compiled kernels of feature extraction: FFT, vectorised filter banks, float16."""
