"""Gated recurrent networks: the package that the chapters of the book share.

Rooms, from the bottom up: `files`, `preparation`, `datasets` and `batching` (data), `cells` (one readable step),
`recurrence` (whole sequences, whole populations), `outputs`, `model`, `evaluation`, `training`, `sampling`, `sound`,
`diagnostics`, `diagrams` and `figures`, `records` and `study` (the paper's grid), `cli`.
"""

from importlib.metadata import version

__version__ = version("gatedrnn")
