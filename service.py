"""What the page and the API share: the model in use, the corrections, the training, the keys.

    page, API -> Service -> .predictor (swapped whole) | .feedback | .jobs | .access

One object for each server process, handed to whoever answers requests. Handlers read
`service.predictor` at each call and never keep it, so a newly chosen model is used at once.

    >>> service = Service()
    >>> service.predictor.predict("seven.png").digit
    7
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from access import Access
from decoding import decoders_for
from errors import THE_PICTURE, ImageError
from predict import MNISTPredictor
from reading import Prediction, Reading
from registry import ALIASES, MODELS_DIR, SUFFIX, Checkpoint, Listing, list_checkpoints, resolve
from segment import PAGE_SIDE

if TYPE_CHECKING:
    from errors import DigitError
    from feedback import Correction, FeedbackStore
    from job_records import Job
    from jobs import TrainingJobs

log = logging.getLogger(__name__)


class Service:
    """Holds what outlives a request. Safe to share between threads.

    Parameters
    ----------
    model : str, default="best"
        What is in use at first: a name in the models folder, or a path. Given by whoever starts
        the server, so a path is allowed here.
    models_folder : Path, default=MODELS_DIR
        Where names are looked up.
    data_folder : Path, optional
        Where data sets are; None leaves it to `dataset.data_dir`.
    feedback : FeedbackStore, optional
        By default the project's own, opened when it is first asked for.
    jobs : TrainingJobs, optional
        By default the project's own.
    access : Access, optional
        By default that of a server which only this machine can reach.
    device : str, default="auto"
        See `utils.pick_device`.

    Attributes
    ----------
    models_folder : Path
    data_folder : Path or None
    access : Access
    started : float
        Seconds since 1970.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    CheckpointError
        If its file is damaged or not one of ours.
    """

    def __init__(
        self,
        *,
        model: str = "best",
        models_folder: Path = MODELS_DIR,
        data_folder: Path | None = None,
        feedback: FeedbackStore | None = None,
        jobs: TrainingJobs | None = None,
        access: Access | None = None,
        device: str = "auto",
    ) -> None:
        self.models_folder = models_folder
        self.data_folder = data_folder
        self.access = access or Access()
        self.started = time.time()
        self._device = device
        self._feedback = feedback
        self._jobs = jobs
        self._change = threading.Lock()  # of the model
        self._opening = threading.Lock()  # of the store and the jobs
        self._listing = threading.Lock()  # of the models folder
        self._listed: tuple[set[tuple[str, int, int]], list[Listing]] = (set(), [])
        self._predictor = MNISTPredictor(model, device=device, folder=models_folder)

    @property
    def predictor(self) -> MNISTPredictor:
        """The predictor in use right now."""
        return self._predictor

    @property
    def model_version(self) -> str:
        """The version of the model in use right now."""
        return self._predictor.checkpoint.version

    def predict(self, content: bytes, predictor: MNISTPredictor | None = None) -> Prediction:
        """Read a stranger's picture of one digit: decoded in another process, recognised in this.

        Parameters
        ----------
        content : bytes
            An encoded picture.
        predictor : MNISTPredictor, optional
            By default the one in use.

        For the errors see `MNISTPredictor.predict`.
        """
        prepared = decoders_for(content).prepare(content)
        return (predictor or self.predictor).predict_prepared([prepared])[0]

    def read(
        self,
        content: bytes,
        predictor: MNISTPredictor | None = None,
        *,
        turn: int | Literal["auto"] = "auto",
    ) -> Reading:
        """Read a stranger's picture of several digits, as `predict` reads one.

        For `turn` and the errors see `MNISTPredictor.read`.
        """
        picture = decoders_for(content).open(content, PAGE_SIDE)
        return (predictor or self.predictor).read(picture, turn=turn)

    def add_correction(
        self,
        content: bytes,
        prediction: Prediction,
        correct: int | None,
        checkpoint: Checkpoint,
        *,
        source: str,
    ) -> Correction:
        """Store what a stranger's picture really shows; see `FeedbackStore.add`."""
        from feedback import SIDE

        return self.feedback.add(
            decoders_for(content).open(content, SIDE),
            prediction,
            correct,
            model=checkpoint.name,
            model_version=checkpoint.version,
            source=source,
        )

    def use_model(self, name: str) -> Checkpoint:
        """Read with another model from now on; those who are reading finish with the old one.

        Parameters
        ----------
        name : str
            "best", "last" or the name of a file in the models folder; never a path, because it
            may come from a stranger.

        Returns
        -------
        Checkpoint
            Of the model that is in use now.

        Raises
        ------
        ModelNotFoundError
            If there is no such model; the old one stays in use.
        CheckpointError
            If its file is damaged or not one of ours; the old one stays in use.
        """
        with self._change:
            path = resolve(name, self.models_folder, allow_paths=False)
            predictor = MNISTPredictor(path, device=self._device)
            # Threads see the old object or the new one: a reference is replaced in one step.
            self._predictor = predictor
        checkpoint = predictor.checkpoint
        log.info("model in use: %s, version %s", checkpoint.name, checkpoint.version)
        return checkpoint

    def list_models(self) -> list[Listing]:
        """List the models folder; files are opened again only when one has changed."""
        with self._listing:
            signature = self._sign_folder()
            if signature != self._listed[0]:
                self._listed = signature, list_checkpoints(self.models_folder)
            return list(self._listed[1])

    def _sign_folder(self) -> set[tuple[str, int, int]]:
        """Tell apart two states of the models folder."""
        signature = set()
        for path in self.models_folder.glob(f"*{SUFFIX}"):
            try:
                about = path.stat()
            except FileNotFoundError:  # deleted a moment ago
                continue
            signature.add((path.name, about.st_mtime_ns, about.st_size))
        return signature

    @property
    def feedback(self) -> FeedbackStore:
        """The store of corrections, opened when it is first asked for."""
        with self._opening:
            if self._feedback is None:
                from feedback import FeedbackStore

                self._feedback = FeedbackStore()
            return self._feedback

    @property
    def jobs(self) -> TrainingJobs:
        """The training runs."""
        with self._opening:
            if self._jobs is None:
                from jobs import TrainingJobs

                store = self._feedback
                self._jobs = TrainingJobs(
                    models=self.models_folder,
                    data=self.data_folder,
                    corrections=None if store is None else store.path,
                    on_end=self.follow_promotion,
                )
            return self._jobs

    def list_runs(self, limit: int = 20, *, token: object = None) -> list[Job]:
        """List the newest training runs; what they printed is not for strangers.

        Parameters
        ----------
        limit : int, default=20
        token : object, optional
            What whoever asks has shown. Anything may have been sent.
        """
        runs = self.jobs.history(limit)
        return runs if self.access.is_trusted(token) else [job.without_output() for job in runs]

    def tell(self, error: DigitError, *, subject: str = "", token: object = None) -> str:
        """Say to whoever asked what was wrong, and nothing of this machine's files to strangers.

        Every door words its errors by this: what reaches a visitor in another way may hold a path.

        Parameters
        ----------
        error : DigitError
        subject : str, optional
            What to call the picture, where the error has no name for it.
        token : object, optional
            What whoever asked has shown. Anything may have been sent.

        Returns
        -------
        str
            The message; for strangers, the one that its class has for them, if it has one.
        """
        if error.for_strangers and not self.access.is_trusted(token):
            log.log(logging.ERROR if error.http_status >= 500 else logging.WARNING, "%s", error)
            return error.for_strangers
        if subject and isinstance(error, ImageError) and error.subject == THE_PICTURE:
            return str(error.about(subject))
        return str(error)

    def follow_training(self) -> None:
        """Hear of the end of a run that an earlier server has started, and that outlived it."""
        self.jobs.follow_newest()

    def follow_promotion(self, job: Job) -> None:
        """Read with the model that a training run has made the best one, if it has."""
        if job.was_promoted:
            self.follow_best()

    def follow_best(self) -> None:
        """Read with a new "best" model, if the former one was in use."""
        best = ALIASES["best"]
        if self.predictor.checkpoint.name == best:
            self.use_model(best)
