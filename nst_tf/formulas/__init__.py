"""Bare formulas: costs, optimisers, a line search. TensorFlow only."""
