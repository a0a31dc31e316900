"""Online endpoints and deployments: roll-out, traffic, leases, and asking a model."""
