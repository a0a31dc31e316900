"""What may be deployed: rules as plain functions, each with the public source that asks for it, and their pack."""
