"""What things cost and how much memory they take, before they run."""
