"""Which fits share a chunk."""

import numpy as np
import pytest

from socca.errors import ConfigError
from socca.survey.chunks import Chunk, Members, divided


@pytest.mark.parametrize("n", [1, 49, 50, 51, 1000, 1601])
def test_chunks_hold_every_target_once(n):
    names = [f"NGC{k}" for k in range(n)]
    chunks = divided("m", names, 50)
    assert sorted(name for members in chunks.values() for name in members) == sorted(names)
    count = next(iter(chunks)).count
    assert count & (count - 1) == 0
    assert 25 < n / count <= 50 or count == 1
    for chunk, members in chunks.items():
        assert members == [name for name in names if name in Members(chunk)]
        assert Chunk.named("m", chunk.name) == chunk


def test_chunks_are_about_equal():
    sizes = [len(members) for members in divided("m", [f"t{k}" for k in range(6400)], 50).values()]
    # 128 chunks of 50 on average: counts of a multinomial, of which none should be five deviations off.
    assert len(sizes) == 128
    assert max(abs(np.array(sizes) - 50)) < 5 * np.sqrt(50)


def test_rows_that_come_and_go_move_no_other_target():
    names = [f"t{k}" for k in range(120)]
    before = divided("m", names, 50)
    after = divided("m", [*names[:30], "new", *names[31:]], 50)
    moved = {name for chunk, members in before.items() for name in members if name not in after[chunk]}
    assert moved == {"t30"}


@pytest.mark.parametrize("name", ["", "3", "3of", "of4", "3of4.h5", "-1of4", "4of4", "0of0"])
def test_names_of_chunks(name):
    with pytest.raises(ConfigError, match="007of128"):
        Chunk.named("m", name)
