"""Pictures that a reader operates, without a kernel and from a file on disk; no torch.

Each function makes one `Panel` from arrays and belongs at the end of a cell:

| panel | one line of a chapter |
|---|---|
| `listen` | `listen({"Bach": roll, "GRU": drawn}, opening=16, blind=True, title="Which is Bach?")` |
| `listen_wave` | `listen_wave({"speaker": wave, "GRU": drawn}, opening=0.5, title="Half a second, continued")` |
| `stepper` | `stepper("gru", cell.run(x), x, weights=dict(cell.named_parameters()), units=[3, 8])` |
| `slider` | `slider(lags, {"tanh": norms}, {"scale of U": scales}, log="y", lines=[("y", 1, "no change")])` |
| `latch` | `latch(offers, write=[4, 24], show=[12, 20, 36])` |
| `explorer` | `explorer(rows, ("data", "average", "column"), best="lowest", xlabel="nats a step")` |
| `gate_map` | `gate_map("gru", gates, roll)` |

All panels take `title`, `alt` (what a screen reader says of the picture), `caption` (or, for a number, the cell's
figure metadata) and `name`, the panel's id, by default the title in small letters: `page.html#p=NAME:KEY=VALUE,...`
opens a page with the panel in that state. The HTML holds a picture, its data as JSON and, where there is sound, native
players. `book/_static/panels.js` makes it move; in print and without script the picture stays.

No panels, but in the book's style: `table(frame, caption="...")`, and `answers`, questions with a word
in the colour of a verdict.
"""

from .answers import Answers, answers
from .charts import explorer, latch, slider
from .gates import gate_map, stepper
from .listening import listen, listen_wave
from .panel import Panel
from .tables import Table, table

__all__ = [
    "Answers",
    "Panel",
    "Table",
    "answers",
    "explorer",
    "gate_map",
    "latch",
    "listen",
    "listen_wave",
    "slider",
    "stepper",
    "table",
]
