"""The cohorts that ``dataset=`` names, normalised and with the channels that the network sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from psft_jax.data import bids, mslesseg, open_ms, table, wmh
from psft_jax.data.channels import DCEChannels, select_channels
from psft_jax.data.listing import Listing
from psft_jax.data.normalise import normalise
from psft_jax.errors import InputError
from psft_jax.phantoms.brain import BrainPhantomSettings, brain_cohort
from psft_jax.phantoms.liver import LiverPhantomSettings, liver_cohort
from psft_jax.scan import Cohort, Provenance


@dataclass(frozen=True)
class BrainPhantomDataset:
    """Generated brains with white matter hyperintensities."""

    provenance: ClassVar[Provenance] = Provenance.PHANTOM
    source: Literal["phantom_brain"] = "phantom_brain"
    phantom: BrainPhantomSettings = field(default_factory=BrainPhantomSettings)

    def raw_cohort(self) -> Cohort:
        """The cohort before normalisation."""
        return brain_cohort(self.phantom)


@dataclass(frozen=True)
class LiverPhantomDataset:
    """Generated livers with metastases.

    Args:
        source: which of the datasets this is.
        phantom: the generative model.
        dce_channels: the averages of six breath holds, or all 16 phases.
    """

    provenance: ClassVar[Provenance] = Provenance.PHANTOM
    source: Literal["phantom_liver"] = "phantom_liver"
    phantom: LiverPhantomSettings = field(default_factory=LiverPhantomSettings)
    dce_channels: DCEChannels = DCEChannels.BREATH_HOLDS

    def raw_cohort(self) -> Cohort:
        """The cohort before normalisation."""
        return select_channels(liver_cohort(self.phantom), self.dce_channels)


class _InFiles:
    """What data sets that are read from files share."""

    def listings(self) -> tuple[Listing, ...]:
        """What was found, before any scan is read."""
        raise NotImplementedError

    def raw_cohort(self) -> Cohort:
        """The cohort before normalisation."""
        return self.cohort_of(self.listings())

    def cohort_of(self, listings: Sequence[Listing]) -> Cohort:
        """One cohort of what was found; what comes after the first listing is for training."""
        first, *others = listings
        return first.cohort(tuple(patient for listing in others for patient in listing.patients()))


@dataclass(frozen=True)
class MSLesSegDataset(_InFiles):
    """Real scans in the layout of MSLesSeg: patients of one visit train, patients of more are tested.

    Args:
        source: which of the datasets this is.
        root: the folder that holds the patients' folders.
        open_ms: a folder of the Ljubljana MS database (MNI files), whose patients also train.
    """

    provenance: ClassVar[Provenance] = Provenance.REAL
    source: Literal["mslesseg"] = "mslesseg"
    root: str | None = None
    open_ms: str | None = None

    def listings(self) -> tuple[Listing, ...]:
        """What was found, before any scan is read."""
        found = mslesseg.find(_given(self.root))
        return (found,) if self.open_ms is None else (found, open_ms.find(self.open_ms))


@dataclass(frozen=True)
class OpenMSLongitudinalDataset(_InFiles):
    """The longitudinal part of the Ljubljana MS database: two visits a patient, without lesion masks.

    Args:
        source: which of the datasets this is.
        root: the folder of the database.
        space: raw, or coregistered.
    """

    provenance: ClassVar[Provenance] = Provenance.REAL
    source: Literal["open_ms_longitudinal"] = "open_ms_longitudinal"
    root: str | None = None
    space: open_ms.Space = open_ms.Space.COREGISTERED

    def listings(self) -> tuple[Listing, ...]:
        """What was found, before any scan is read."""
        return (open_ms.find_longitudinal(_given(self.root), self.space),)


@dataclass(frozen=True)
class BIDSDataset(_InFiles):
    """Brains in a BIDS folder; see ``psft_jax.data.bids.find``."""

    source: Literal["bids"] = "bids"
    root: str | None = None
    derivatives: str | None = None
    lesion_labels: tuple[str, ...] = ("L", "lesion")
    select: bids.Selection = field(default_factory=bids.Selection)
    roles: str | None = None
    resample_masks: bool = False
    name: str | None = None
    provenance: Provenance = Provenance.REAL

    def listings(self) -> tuple[Listing, ...]:
        """What was found, before any scan is read."""
        found = bids.find(
            _given(self.root),
            derivatives=self.derivatives,
            lesion_labels=self.lesion_labels,
            select=self.select,
            roles=self.roles,
            name=self.name,
            provenance=self.provenance,
            resample_masks=self.resample_masks,
        )
        return (found,)


@dataclass(frozen=True)
class WMHDataset(_InFiles):
    """The WMH segmentation challenge, for training; see ``psft_jax.data.wmh.find``."""

    provenance: ClassVar[Provenance] = Provenance.REAL
    source: Literal["wmh"] = "wmh"
    root: str | None = None
    brain: str | None = None
    resample_masks: bool = False

    def listings(self) -> tuple[Listing, ...]:
        """What was found, before any scan is read."""
        return (wmh.find(_given(self.root), brain=self.brain, resample_masks=self.resample_masks),)


@dataclass(frozen=True)
class TableDataset(_InFiles):
    """Scans that a table names; see ``psft_jax.data.table``.

    Args:
        source: which of the datasets this is.
        path: the table.
        sequences: its columns of images.
        dce_channels: of a DCE-MRI series of 16 phases as first sequence, the averages of breath holds or all
            phases; none to take the volumes of each sequence as they are.
        resample_masks: bring masks on another grid onto that of the images.
        name: what figures call the cohort, without one the table's.
        provenance: where the images come from.
    """

    source: Literal["table"] = "table"
    path: str | None = None
    sequences: tuple[str, str] = ("FLAIR", "T1")
    dce_channels: DCEChannels | None = None
    resample_masks: bool = False
    name: str | None = None
    provenance: Provenance = Provenance.REAL

    def listings(self) -> tuple[Listing, ...]:
        """What was found, before any scan is read."""
        found = table.find(
            _given(self.path, "dataset.path", "table"),
            self.sequences,
            name=self.name,
            provenance=self.provenance,
            resample_masks=self.resample_masks,
        )
        return (found,)

    def cohort_of(self, listings: Sequence[Listing]) -> Cohort:
        """The same, with the channels that the network is to see."""
        cohort = super().cohort_of(listings)
        return cohort if self.dce_channels is None else select_channels(cohort, self.dce_channels)


FilesDataset = MSLesSegDataset | OpenMSLongitudinalDataset | BIDSDataset | WMHDataset | TableDataset
"""Those that are read from files."""

Dataset = Annotated[BrainPhantomDataset | LiverPhantomDataset | FilesDataset, Field(discriminator="source")]


def load_cohort(dataset: Dataset) -> Cohort:
    """The cohort of a dataset, ready for the network; scans are loaded when they are needed."""
    return dataset.raw_cohort().map(normalise)


def read_from_files(dataset: Dataset) -> FilesDataset:
    """The dataset, where it is one that is read from files.

    Raises:
        InputError: it is generated.
    """
    if isinstance(dataset, FilesDataset):
        return dataset
    raise InputError(
        "dataset",
        found=f"{dataset.source}, which is generated",
        expected="a data set that is read from files",
        remedy="Give dataset=bids, table, table_liver or open_ms_longitudinal (docs/layouts.md).",
    )


def _given(path: str | None, key: str = "dataset.root", what: str = "folder of the scans") -> Path:
    if path is not None:
        return Path(path)
    raise InputError(
        key,
        found="nothing",
        expected=f"the {what}",
        remedy=f"Give {key}=..., or, for MSLesSeg and the Ljubljana database, set the environment variable "
        "PSFT_DATA to the folder that holds mslesseg/ and open_ms/.",
    )
