"""What the registry's components do, as programs: each step of a pipeline is a process of its own."""
