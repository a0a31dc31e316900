"""Azure's services as the local cloud answers for them: one noun, one file, each with `routes(cloud)`."""
