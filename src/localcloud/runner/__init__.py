"""Runs jobs: plans made from request bodies, graphs of steps, and each step as a process of its own."""
