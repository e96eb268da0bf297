"""What psft_jax costs, measured beside a plain PyTorch build of the same work.

``python -m bench`` (or ``make bench``) measures, prints a table and writes ``bench/results.json``;
``python -m bench.growth`` draws how the cost grows; ``python -m bench.limits`` compares each stage with what
the machine can do. Only the ``theirs`` side knows PyTorch, and neither side knows the other.
"""
