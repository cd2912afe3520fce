"""Deliberately broken or healthy learners that suites must tell apart."""
