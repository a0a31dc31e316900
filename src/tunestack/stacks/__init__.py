"""Pulumi stacks from outside: planned, adopted, torn down, and the proof that nothing is left."""
