"""One run: pictures, masks and options in, an iterator of results out."""
