"""Pixels to pixels: no file, no flag. This is what gets exported."""
