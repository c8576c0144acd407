"""Gated recurrent networks: the package that the chapters of the book share.

Rooms, from the bottom up: `sources` and `datasets` (data), `cells` (one readable step), `recurrence` (whole sequences,
whole populations), `outputs`, `model`, `training`, `generation`, `diagnostics`, `figures`, `cli`.
"""

from importlib.metadata import version

__version__ = version("gatedrnn")
