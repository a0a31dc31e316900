"""Azure Machine Learning: its control plane, its data plane and the registry, one noun a file."""
