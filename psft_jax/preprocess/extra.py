"""The packages that preprocessing alone needs."""

from __future__ import annotations

from psft_jax.errors import InputError


def missing_extra(organ: str, found: str) -> InputError:
    """The error of packages that are not installed.

    Args:
        organ: whose preprocessing needs them.
        found: which one is missing.
    """
    return InputError(
        f"preprocessing of the {organ}",
        found=found,
        expected="the packages of the extra preprocess",
        remedy="Install them: pip install 'psft_jax[preprocess]'",
    )
