"""The outside world: pictures, weights, records."""
