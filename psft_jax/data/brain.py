"""What the readers of FLAIR and T1 data sets share.

Where there is no brain mask, the images are skull-stripped and the brain is where FLAIR is not 0: lesions are
annotated on FLAIR, and T1 images are often stripped more generously.
"""

from __future__ import annotations

from psft_jax.scan import Sequence

SEQUENCES = (Sequence("FLAIR", ("FLAIR",)), Sequence("T1", ("T1",)))
