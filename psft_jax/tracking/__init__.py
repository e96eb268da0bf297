"""What a run records: ``metrics.jsonl`` in its folder first, and Weights & Biases as its mirror.

W&B is imported only where it is used. Offline, the default, nothing waits for a network: the W&B run is
written into the run's own folder, and ``wandb sync`` sends it whenever one likes, from a copy too.
"""

from psft_jax.tracking.config import TrackingConfig, TrackingMode
from psft_jax.tracking.metrics import METRICS, read_metrics
from psft_jax.tracking.tracker import Tracker

__all__ = ["METRICS", "Tracker", "TrackingConfig", "TrackingMode", "read_metrics"]
