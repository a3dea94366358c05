"""A clip, frame by frame: each held to the one before where it moved."""
