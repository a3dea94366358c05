"""The same verb without Python: the pipeline as a SavedModel."""
