"""The data folder: rows checked, counted, split and written, with the card that says what was found."""
