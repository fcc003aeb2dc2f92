"""Fused CPU kernels of the convolutional blocks."""
