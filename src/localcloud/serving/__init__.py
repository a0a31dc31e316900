"""Online deployments as real processes, and the router that stands in front of them."""
