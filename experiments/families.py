"""Which runs belong into which of the paper's tables: settings that differ in one thing only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.config import TuneConfig, TunedOn
from experiments.patient import BASE
from psft_jax.reporting.paper import Setting
from psft_jax.sampling.selection import Candidates, SliceSelection
from psft_jax.training.settings import FinetuneConfig
from psft_jax.training.weighting import Weighting

PAPER_ITERATIONS = 100
THRESHOLD = "base CNN, threshold tuned on the baseline"
_HEADS = {
    TunedOn.TRAINING: "head tuned on the training patients",
    TunedOn.OTHER: "head tuned on another patient",
}

_ITERATIONS = {
    50: Setting.ITERATIONS_50,
    500: Setting.ITERATIONS_500,
    1000: Setting.ITERATIONS_1000,
}
_SLICES = {
    SliceSelection(Candidates.ORGAN, 1): Setting.ONE_ORGAN_SLICE,
    SliceSelection(Candidates.ORGAN, 2): Setting.TWO_ORGAN_SLICES,
    SliceSelection(Candidates.ORGAN): Setting.ALL_ORGAN_SLICES,
    SliceSelection(Candidates.LESION, 1): Setting.ONE_LESION_SLICE,
    SliceSelection(Candidates.LESION, 2): Setting.TWO_LESION_SLICES,
}


@dataclass(frozen=True)
class Family:
    """Runs around one setting of fine-tuning, which differ from it in one thing each.

    Args:
        own: the setting in the middle: tuned on the patient's baseline, all slices with lesions, no weights.
        paper: the variants by what the paper calls them.
        iterations: iterations of each variant that differs in nothing else; the base CNN's are 0.
        controls: variant of each control to its label, the base CNN first.
    """

    own: TuneConfig
    paper: dict[Setting, str]
    iterations: dict[str, int]
    controls: dict[str, str]

    @property
    def variant(self) -> str:
        """Of the setting in the middle."""
        return self.own.variant

    @property
    def by_iterations(self) -> dict[Setting, str]:
        """The variants by what the paper's tables of iterations call them; 100 is its usual number."""
        names = {0: Setting.BASE, PAPER_ITERATIONS: Setting.FINE_TUNED, **_ITERATIONS}
        return {names[count]: variant for variant, count in self.iterations.items() if count in names}

    @property
    def every_control(self) -> dict[str, str]:
        """The controls, with those that were not run under their label alone."""
        labels = (THRESHOLD, *_HEADS.values())
        return {**self.controls, **{label: label for label in labels if label not in self.controls.values()}}

    @property
    def is_studied(self) -> bool:
        """Whether anything was varied around the setting, or controlled for."""
        return len(self.paper) > 2 or len(self.controls) > 2


def families(tunes: Sequence[TuneConfig]) -> list[Family]:
    """The families that the settings of some runs make, the largest first.

    Args:
        tunes: the settings, each once or more.
    """
    distinct = list({tune.variant: tune for tune in tunes}.values())
    centres: dict[FinetuneConfig, TuneConfig] = {}
    # Where nothing but ablations or controls was run, each of them stands for itself.
    for tune in [tune for tune in distinct if _is_plain(tune)] or distinct:
        common = replace(tune.settings, iterations=0)
        best = centres.get(common)
        if best is None or _nearness(tune) > _nearness(best):
            centres[common] = tune
    found = [_family(centre, distinct) for centre in centres.values()]
    return sorted(found, key=lambda family: -len(family.paper) - len(family.controls))


def _is_plain(tune: TuneConfig) -> bool:
    """Whether a setting can be in the middle: the method itself, not a control or an ablation."""
    settings = tune.settings
    return (
        tune.tuned_on is TunedOn.OWN
        and not tune.tune_threshold
        and settings.slices == SliceSelection()
        and settings.weighting is Weighting.NONE
        and settings.iterations > 0
    )


def _nearness(tune: TuneConfig) -> tuple[bool, int]:
    return tune.settings.iterations == PAPER_ITERATIONS, tune.settings.iterations


def _family(own: TuneConfig, tunes: Sequence[TuneConfig]) -> Family:
    paper = {Setting.BASE: BASE, **({Setting.FINE_TUNED: own.variant} if _is_plain(own) else {})}
    iterations, controls = {BASE: 0}, {BASE: "base CNN"}
    for tune in tunes:
        name = _paper_name(tune, own)
        if name is not None:
            paper[name] = tune.variant
        if _is_plain(tune) and replace(tune.settings, iterations=0) == replace(own.settings, iterations=0):
            iterations[tune.variant] = tune.settings.iterations
        if tune.tuned_on is TunedOn.NOBODY and tune.tune_threshold:
            controls[tune.variant] = THRESHOLD
        elif tune.tuned_on in _HEADS and not tune.tune_threshold and tune.settings == own.settings:
            controls[tune.variant] = _HEADS[tune.tuned_on]
    return Family(own, paper, iterations, controls)


def _paper_name(tune: TuneConfig, own: TuneConfig) -> Setting | None:
    """What the paper calls a setting that differs from the one in the middle in one thing."""
    if tune.tuned_on is not TunedOn.OWN or tune.tune_threshold:
        return None
    mine, other = own.settings, tune.settings
    if other == replace(mine, iterations=other.iterations):
        return _ITERATIONS.get(other.iterations) if other.iterations != mine.iterations else None
    if other == replace(mine, slices=other.slices):
        return _SLICES.get(other.slices)
    # A scheme takes the place of the class weights, so that these may be any.
    if other == replace(mine, weighting=other.weighting, class_weights=other.class_weights):
        return Setting.WEIGHTED if other.weighting is not Weighting.NONE else None
    return None
