"""Memory-based meta-learners."""
