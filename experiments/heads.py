"""The fine-tuned networks of one or many runs: each trained once, whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from experiments.config import HardwareConfig, TaskConfig, TuneConfig, TunedOn
from psft_jax.inference.postprocess import postprocess
from psft_jax.inference.volume import predict
from psft_jax.model.network import Network, Variables
from psft_jax.model.precision import Precision
from psft_jax.scan import Cohort, Mask, Patient, Scan, Visit, Volume
from psft_jax.training.finetune import Subject, Tuned, finetune, finetune_all
from psft_jax.training.material import Annotated, BaseResult
from psft_jax.training.saved import BaseRecord
from psft_jax.training.settings import FinetuneConfig

TRAINING_PATIENTS = "training patients"


@dataclass(frozen=True, eq=False)
class Start:
    """What all runs of a study start from: the base CNN, the cohort, the task.

    Args:
        record: what the base CNN is.
        base: its variables.
        cohort: the patients.
        task: what is asked of the network.
        precision: of the arithmetic.
        hardware: where it runs.
    """

    record: BaseRecord
    base: Variables
    cohort: Cohort
    task: TaskConfig
    precision: Precision
    hardware: HardwareConfig

    @cached_property
    def network(self) -> Network:
        """The architecture of the base CNN."""
        return replace(self.record.network, precision=self.precision)

    def found(self, probability: Volume, scan: Scan, threshold: float | None = None) -> Mask:
        """The lesions in a probability map, at the task's threshold or another."""
        return postprocess(
            probability,
            scan.organ,
            threshold=self.task.threshold if threshold is None else threshold,
            opening=self.task.opening,
        )

    def annotated(self, visit: Visit, *, with_result: bool) -> Annotated:
        """A visit to tune on, with the base CNN's result on it where that is asked for."""
        scan = visit.load()
        if not with_result:
            return Annotated(scan)
        (prediction,) = predict(self.network, [self.base], scan)
        return Annotated(scan, BaseResult(prediction.probability, self.found(prediction.probability, scan)))


def other_visit(cohort: Cohort, subject: str, seed: int) -> Visit:
    """The scan of another patient, for the control: with seed 0 the one before in the list, then the one
    before that.

    With as many seeds as there are other patients, each is taken once. In a cohort with one test patient
    these are scans of training patients, which the base CNN has seen.
    """
    others = [patient for patient in cohort.test if patient.subject != subject] or list(cohort.training)
    place = [patient.subject for patient in cohort.test].index(subject)
    return others[(place - 1 - seed) % len(others)].baseline


class Heads:
    """Trains heads on demand, and keeps them for those who ask later.

    A patient's own run and another patient's control want the same head: it is trained once.

    Args:
        start: base CNN and cohort.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._tuned: dict[tuple[str, int, FinetuneConfig], Tuned] = {}

    def of(
        self, patient: Patient, baseline: Annotated, tunes: Sequence[TuneConfig], seed: int
    ) -> list[Tuned]:
        """A network for each of the settings, for one test patient.

        Args:
            patient: the test patient.
            baseline: the patient's, with the base CNN's result where a setting needs it.
            tunes: the settings.
            seed: of the patches and the dropout.
        """
        own, other, training = (
            [tune.settings for tune in tunes if tune.tuned_on is whose]
            for whose in (TunedOn.OWN, TunedOn.OTHER, TunedOn.TRAINING)
        )
        cohort = self._start.cohort
        names = {TunedOn.OWN: patient.subject, TunedOn.TRAINING: TRAINING_PATIENTS}
        if own:
            # With what the next patient's control will ask of this one: the trunk's features are shared.
            self._train(patient.subject, [*own, *other], seed, lambda _: [baseline])
        if other:
            visit = other_visit(cohort, patient.subject, seed)
            names[TunedOn.OTHER] = visit.subject
            self._train(visit.subject, other, seed, partial(self._annotated, [visit]))
        if training:
            visits = [visit for other in cohort.training for visit in other.visits]
            self._train(TRAINING_PATIENTS, training, seed, partial(self._annotated, visits))
        untuned = Tuned(self._start.base, np.zeros(0))
        return [
            untuned
            if tune.tuned_on is TunedOn.NOBODY
            else self._tuned[names[tune.tuned_on], seed, tune.settings]
            for tune in tunes
        ]

    def train_together(self, patients: Sequence[Patient], tunes: Sequence[TuneConfig], seed: int) -> None:
        """Train what several patients will ask for, on their own baselines, in one pass.

        Args:
            patients: test patients.
            tunes: the settings of the runs.
            seed: of the patches and the dropout.

        Raises:
            InputError: one of the patients cannot be tuned to; nothing is kept.
        """
        whose = (TunedOn.OWN, TunedOn.OTHER)  # the control of one patient is another's own
        settings = list(dict.fromkeys(tune.settings for tune in tunes if tune.tuned_on in whose))
        if not settings:
            return
        subjects = [Subject(p.subject, self._annotated([p.baseline], settings)) for p in patients]
        start = self._start
        found = finetune_all(
            start.network, start.base, subjects, settings, seed=seed, execution=start.hardware.execution
        )
        for subject, tuned in zip(subjects, found, strict=True):
            self._tuned |= {(subject.name, seed, one): t for one, t in zip(settings, tuned, strict=True)}

    def _annotated(self, visits: Sequence[Visit], settings: Sequence[FinetuneConfig]) -> list[Annotated]:
        with_result = any(one.needs_result for one in settings)
        return [self._start.annotated(visit, with_result=with_result) for visit in visits]

    def _train(
        self,
        name: str,
        settings: Sequence[FinetuneConfig],
        seed: int,
        material: Callable[[Sequence[FinetuneConfig]], Sequence[Annotated]],
    ) -> None:
        """Train what is not there yet, in one pass."""
        missing = [one for one in dict.fromkeys(settings) if (name, seed, one) not in self._tuned]
        if missing:
            start = self._start
            tuned = finetune(
                start.network, start.base, name, material(missing), missing,
                seed=seed, execution=start.hardware.execution,
            )  # fmt: skip
            self._tuned |= {(name, seed, one): t for one, t in zip(missing, tuned, strict=True)}
