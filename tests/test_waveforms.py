"""Waveforms: what is one."""

import numpy as np
import pytest

from gatedrnn.waveforms import check_waveform


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0), "needs 30 samples; this waveform has 0"),
        (np.zeros(29), "this waveform has 29"),
        (np.zeros((40, 2)), r"one axis of samples; this one has shape \(40, 2\)"),
        (np.full(40, np.nan), "NaN or infinity"),
        (np.full(40, -np.inf), "NaN or infinity"),
    ],
)
def test_what_is_no_waveform_is_refused(samples, message):
    check_waveform(np.zeros(30))
    with pytest.raises(ValueError, match=message):
        check_waveform(samples)
