"""Registered models: their versions, lineage, cards and signed evidence, and their way to production."""
