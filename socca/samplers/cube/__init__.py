"""The unit cube that nested samplers explore, concentrated around the maxima."""
