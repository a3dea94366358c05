"""Many pictures on many machines: the verb, again and again, on Dask."""
