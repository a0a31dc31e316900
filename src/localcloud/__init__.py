"""The local cloud: Azure's wire protocols on loopback, for a laptop without an account."""
