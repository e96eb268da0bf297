"""The 16 phases of a DCE-MRI series as 6 channels, or all of them."""

from __future__ import annotations

import numpy as np
import pytest

from psft_jax.data.channels import BREATH_HOLDS, DCEChannels, group_phases, select_channels
from psft_jax.errors import InputError
from psft_jax.scan import Cohort, Patient, Provenance, Scan, Sequence, Visit


def liver_scan(session: str, n_phases: int = 16) -> Scan:
    dce = np.broadcast_to(np.arange(n_phases, dtype=np.float32), (2, 3, 4, n_phases))
    dwi = np.ones((2, 3, 4, 3), dtype=np.float32)
    organ = np.ones((2, 3, 4), dtype=bool)
    return Scan("P1", session, (dce, dwi), organ, None, (2.0, 1.5, 1.5), np.eye(4))


def liver_cohort(n_named: int = 16, n_phases: int = 16) -> Cohort:
    visits = tuple(Visit("P1", s, lambda s=s: liver_scan(s, n_phases)) for s in ("T1", "T2"))  # type: ignore[misc]
    sequences = (
        Sequence("DCE", tuple(f"phase{i:02d}" for i in range(n_named))),
        Sequence("DWI", ("b10", "b150", "b1000")),
    )
    return Cohort("liver", Provenance.PHANTOM, sequences, (), (Patient("P1", visits),))


def test_breath_holds_cover_every_phase_once_in_order() -> None:
    assert [phase for hold in BREATH_HOLDS for phase in hold] == list(range(16))
    assert [len(hold) for hold in BREATH_HOLDS] == [1, 5, 4, 2, 3, 1]


def test_phases_are_averaged_by_hand() -> None:
    # Phase p has the intensity p: the means of 0, 1-5, 6-9, 10-11, 12-14 and 15.
    grouped = group_phases(liver_scan("T1").sequences[0])
    assert grouped.shape == (2, 3, 4, 6)
    assert grouped.dtype == np.float32
    assert grouped[1, 2, 3].tolist() == [0.0, 3.0, 7.5, 10.5, 13.0, 15.0]


def test_a_cohort_with_breath_holds() -> None:
    cohort = select_channels(liver_cohort(), DCEChannels.BREATH_HOLDS)
    assert cohort.channels == (6, 3)
    assert cohort.sequences[0] == Sequence("DCE", ("hold0", "hold1", "hold2", "hold3", "hold4", "hold5"))
    for visit in cohort.test[0].visits:
        scan = visit.load()
        assert scan.session == visit.session
        assert scan.channels == cohort.channels
        assert scan.sequences[0][0, 0, 0].tolist() == [0.0, 3.0, 7.5, 10.5, 13.0, 15.0]
        assert (scan.sequences[1] == 1).all()


def test_a_cohort_with_all_phases() -> None:
    original = liver_cohort()
    cohort = select_channels(original, DCEChannels.ALL_PHASES)
    assert cohort.sequences == original.sequences
    assert cohort.test[0].baseline.load().channels == cohort.channels == (16, 3)


@pytest.mark.parametrize("n_phases", [1, 6, 15, 17])
def test_another_number_of_phases_is_refused(n_phases: int) -> None:
    with pytest.raises(InputError, match=f"found {n_phases} phases; expected 16 phases in 6 breath holds"):
        group_phases(liver_scan("T1", n_phases).sequences[0])
    for channels in DCEChannels:
        with pytest.raises(InputError, match=f"sequence DCE of cohort liver: found {n_phases} phases"):
            select_channels(liver_cohort(n_named=n_phases), channels)
        baseline = select_channels(liver_cohort(n_phases=n_phases), channels).test[0].baseline
        with pytest.raises(InputError, match=f"P1_T1: found {n_phases} phases"):
            baseline.load()
