"""The cohorts that ``dataset=`` names, normalised and with the channels that the network sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from psft_jax.data import mslesseg, open_ms
from psft_jax.data.channels import DCEChannels, select_channels
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


@dataclass(frozen=True)
class MSLesSegDataset:
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

    def raw_cohort(self) -> Cohort:
        """The cohort before normalisation."""
        if self.root is None:
            raise InputError(
                "dataset.root",
                found="no folder",
                expected="the folder of the scans",
                remedy="Give dataset.root=FOLDER, or set the environment variable PSFT_DATA to the folder "
                "that holds mslesseg/ and open_ms/.",
            )
        also = () if self.open_ms is None else open_ms.patients(Path(self.open_ms))
        return mslesseg.cohort(Path(self.root), also_training=also)


Dataset = Annotated[
    BrainPhantomDataset | LiverPhantomDataset | MSLesSegDataset, Field(discriminator="source")
]


def load_cohort(dataset: Dataset) -> Cohort:
    """The cohort of a dataset, ready for the network; scans are loaded when they are needed."""
    return dataset.raw_cohort().map(normalise)
