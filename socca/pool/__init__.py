"""Pools of workers: serial, loky and MPI, behind one interface."""

from socca.pool.base import KINDS, Pool, SerialPool, chosen_kind, open_pool
from socca.pool.cost import Cost, advise, measure

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
