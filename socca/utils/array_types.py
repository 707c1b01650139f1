"""Types of arrays, for annotations alone: importing it loads neither NumPy nor JAX."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

    import jax
    import numpy as np

    #: An array of NumPy, or one of JAX, which stands for a value where JAX traces a function.
    Array: TypeAlias = jax.Array | np.ndarray
