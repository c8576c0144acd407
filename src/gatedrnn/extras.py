"""What to install when an optional library is missing."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType


@dataclass
class Extra(AbstractContextManager):
    """Guard imports that come with an optional part of the package.

    name : the extra of ``pip install 'gatedrnn[name]'`` that brings the libraries imported inside the block.
    Raises ModuleNotFoundError, one sentence that names the extra, where one of them is missing.

    >>> with Extra("figures"):
    ...     import a_library_that_is_not_there
    Traceback (most recent call last):
    ...
    ModuleNotFoundError: a_library_that_is_not_there is not installed: pip install 'gatedrnn[figures]' brings it.
    """

    name: str

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            library = error.name.partition(".")[0]
            raise ModuleNotFoundError(
                f"{library} is not installed: pip install 'gatedrnn[{self.name}]' brings it.", name=library
            ) from error
