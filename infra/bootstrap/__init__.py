"""What the first `pulumi up` of any stack needs, made once per organisation; `__main__` is the drawing."""
