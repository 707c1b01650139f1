"""Assertions of helpers tell their values as those of tests do."""

import pytest

pytest.register_assert_rewrite("tests.priors.references")
