"""Pools of workers: serial, loky and MPI, behind one interface."""

from socca.pool.base import Pool, SerialPool
from socca.pool.cost import Cost, advise, measure
from socca.pool.factory import KINDS, chosen_kind, open_pool

__all__ = [
    "KINDS",
    "Cost",
    "Pool",
    "SerialPool",
    "advise",
    "chosen_kind",
    "measure",
    "open_pool",
]
