"""Whether files are there."""

import errno

import pytest

from socca.utils.files import exists, is_file


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "missing", "file/below"], ids=["long", "zero", "missing", "below"])
def test_a_path_that_no_file_has_or_can_have(tmp_path, name):
    (tmp_path / "file").write_text("")
    assert not exists(tmp_path / name)
    assert not is_file(tmp_path / name)


def test_files_and_folders(tmp_path):
    (tmp_path / "file").write_text("")
    assert exists(tmp_path)
    assert exists(tmp_path / "file")
    assert not is_file(tmp_path)
    assert is_file(tmp_path / "file")


def test_a_loop_of_links(tmp_path):
    (tmp_path / "a").symlink_to("a")
    assert not exists(tmp_path / "a")
    assert not is_file(tmp_path / "a")


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_what_the_machine_refuses_is_said(tmp_path, monkeypatch, number):
    def refuse(path, **kwargs):
        raise OSError(number, "refused", str(path))

    monkeypatch.setattr("os.stat", refuse)
    with pytest.raises(OSError, match="refused"):
        is_file(tmp_path / "file")
