"""Every check that can be made before a cent is spent."""
