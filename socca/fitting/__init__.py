"""From a problem to its posterior: the interface for scripts, and what every sampler run shares."""
