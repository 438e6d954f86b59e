"""Measurements of the whole product; each prints its figures and fails when the results are wrong."""
