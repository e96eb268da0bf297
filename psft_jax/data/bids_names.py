"""Names of files in a BIDS derivative: entities in BIDS' order, labels of letters and digits."""

from __future__ import annotations

from pathlib import Path

from psft_jax.errors import InputError

ENTITIES = ("space", "res", "label", "desc")
"""Entities that the project's derivatives have beside subject and session, in the order of BIDS."""


def bids_label(name: str) -> str:
    """A subject's or session's name as a BIDS label, which has letters and digits alone.

    What BIDS puts before a label (``sub-``, ``ses-``), and its reader leaves there, is no part of it.

    Raises:
        InputError: nothing is left of the name.

    >>> bids_label("P14"), bids_label("brain-test-000"), bids_label("follow_up")
    ('P14', 'braintest000', 'followup')
    >>> bids_label("sub-01"), bids_label("ses-pre")
    ('01', 'pre')
    """
    own = name.removeprefix("sub-").removeprefix("ses-")
    label = "".join(letter for letter in own if letter.isascii() and letter.isalnum())
    if not label:
        raise InputError(
            name,
            found="a name without a letter (a to z) or digit",
            expected="one that makes a BIDS label, of letters and digits alone",
            remedy="Call the subject or session otherwise, for instance in a table (docs/layouts.md).",
        )
    return label


def bids_path(subject: str, session: str, suffix: str, extension: str = ".nii.gz", **entities: str) -> Path:
    """Where a derivative's file lies inside the derivative's folder.

    Args:
        subject: the patient's identifier, whatever its letters.
        session: the visit's identifier.
        suffix: such as ``mask`` or ``probseg``.
        extension: of the file.
        entities: labels of some of ``ENTITIES``.

    >>> str(bids_path("P14", "T2", "mask", desc="finetuned", label="lesion"))
    'sub-P14/ses-T2/anat/sub-P14_ses-T2_label-lesion_desc-finetuned_mask.nii.gz'
    """
    unknown = entities.keys() - set(ENTITIES)
    if unknown:
        raise ValueError(f"entities without a place in the name: {sorted(unknown)}")
    visit = [f"sub-{bids_label(subject)}", f"ses-{bids_label(session)}"]
    said = [f"{entity}-{entities[entity]}" for entity in ENTITIES if entity in entities]
    return Path(*visit, "anat", "_".join([*visit, *said, suffix]) + extension)
