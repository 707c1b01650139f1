"""From parameters to a likelihood: rendering, pixel integration, and the compiled problem."""
