"""Piano rolls: what is one, and the notes that are held in it."""

import numpy as np
import pytest
import torch

from gatedrnn.rolls import LOWEST_PITCH, PITCHES, check_roll, held_notes


def test_a_roll_is_taken_whatever_holds_it():
    notes = np.eye(PITCHES)[:3]
    for kind in (notes, notes.astype(bool), notes.tolist(), torch.from_numpy(notes).requires_grad_()):
        checked = check_roll(kind)
        assert checked.dtype == bool
        np.testing.assert_array_equal(checked, notes)


def test_the_keys_of_a_piano():
    assert (LOWEST_PITCH, LOWEST_PITCH + PITCHES - 1) == (21, 108), "A0 and C8"


@pytest.mark.parametrize("use", [check_roll, held_notes])
def test_what_is_no_piano_roll_is_refused(use):
    for shape in ((5, 87), (88,), (2, 5, 88), ()):
        with pytest.raises(ValueError, match=rf"shape \(steps, 88\); this one has shape \({str(shape)[1:-1]}\)"):
            use(np.zeros(shape))
    with pytest.raises(ValueError, match="no time step"):
        use(np.zeros((0, 88)))
    for value in (2, -1, np.nan, 0.5):
        with pytest.raises(ValueError, match="only 0"):
            use(np.full((5, 88), value))


def test_held_notes_of_a_known_roll():
    notes = np.zeros((4, 88))
    notes[0:3, 39] = 1
    notes[[0, 2, 3], 43] = 1
    assert held_notes(notes) == [(39, 0, 3), (43, 0, 1), (43, 2, 4)]
    assert held_notes(np.zeros((4, 88))) == []
