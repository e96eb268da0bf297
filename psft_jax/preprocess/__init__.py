"""From the scanner's files to those that ``psft_jax.data`` reads: bias field, registration, organ mask."""
