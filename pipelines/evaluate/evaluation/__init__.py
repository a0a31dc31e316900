"""The evaluation gate as a step of a pipeline: shipped alone to the cluster, it imports nothing of this repository."""
