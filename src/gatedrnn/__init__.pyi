"""The public names for editors and type checkers, which do not run `__getattr__`."""

from .cells import GRUCell as GRUCell
from .cells import LSTMCell as LSTMCell
from .cells import TanhCell as TanhCell
from .datasets import load as load
from .diagnostics import gradient_flow as gradient_flow
from .diagnostics import saturation as saturation
from .diagnostics import step_jacobian as step_jacobian
from .evaluation import Evaluation as Evaluation
from .evaluation import evaluate as evaluate
from .layers import GRU as GRU
from .layers import LSTM as LSTM
from .layers import TanhRNN as TanhRNN
from .model import SequenceModel as SequenceModel
from .model import music_model as music_model
from .model import speech_model as speech_model
from .network import Network as Network
from .protocol import Protocol as Protocol
from .sampling import sample_roll as sample_roll
from .sampling import sample_waveform as sample_waveform
from .sound import audio as audio
from .sound import save_midi as save_midi
from .training import Result as Result
from .training import train as train
from .units import UNITS as UNITS
from .units import Unit as Unit

__version__: str
HOMES: dict[str, tuple[str, ...]]
