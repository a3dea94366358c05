"""What the network sees: patches, sweeps, the papers' figures."""
