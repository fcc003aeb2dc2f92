"""Read published data sets into the three catalog tables: FMA and CIFAR-100."""
