"""Each optional library that is missing is reported in one sentence, and the core does without any of them."""

import pytest

from gatedrnn.extras import Extra


def test_what_is_there_is_imported():
    with Extra("data"):
        import json
    assert json.loads("1") == 1


def test_a_missing_library_is_named_with_its_extra():
    with pytest.raises(ModuleNotFoundError, match=r"^nowhere is not installed: pip install 'gatedrnn\[data\]'"):  # noqa: SIM117
        with Extra("data"):
            import nowhere.inside  # noqa: F401


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), Extra("data"):
        1 / 0  # noqa: B018
