"""Pools of workers: serial and loky, behind one interface."""

from socca.pool.base import Pool, SerialPool, open_pool

__all__ = ["Pool", "SerialPool", "open_pool"]
