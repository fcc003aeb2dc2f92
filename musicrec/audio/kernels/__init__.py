"""Compile kernels for feature extraction: FFT, vectorised filter banks, float16."""
