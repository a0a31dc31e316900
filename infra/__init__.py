"""The long-lived resources of a stack, declared with Pulumi; `__main__` is the drawing."""
