"""Fine-tune and evaluation jobs: submitted once, watched, explained when they fail, gated."""
