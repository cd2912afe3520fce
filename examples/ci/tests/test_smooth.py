"""Every probe and condition of the suite is a test."""

import pytest


@pytest.mark.metabench(learner="my_learner:Smooth", suite="suites/waves", seeds=5)
def test_it_survives_outside_the_conditions_it_was_made_for():
    """Its body runs after each check that passes."""
