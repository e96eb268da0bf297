"""What tables, figures and reports say about where their images come from."""

from __future__ import annotations

from psft_jax.scan import Provenance

STATEMENT = {
    Provenance.REAL: "REAL data: acquired images of patients",
    Provenance.PHANTOM: "PHANTOM data: generated images, not patients",
    Provenance.SIMULATED: "SIMULATED data: computed images, not as acquired",
}
"""One line on each provenance."""

COLOUR = {
    Provenance.REAL: "#1b5e8c",
    Provenance.PHANTOM: "#a33b00",
    Provenance.SIMULATED: "#6b3fa0",
}
"""Background of the badge, dark enough for white letters."""
