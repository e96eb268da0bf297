"""The command with a pipeline of the tests: python -m tests.integration.preprocess_with PIPELINE WORDS."""

from __future__ import annotations

import sys

from experiments import preprocess
from experiments.launch import register_resolvers
from tests.preprocess import pipelines

if __name__ == "__main__":
    chosen = getattr(pipelines, sys.argv.pop(1))
    preprocess.pipeline_of = lambda config, rules: chosen
    register_resolvers(preprocess.PreprocessRun, preprocess.STAGE)
    preprocess.main()
