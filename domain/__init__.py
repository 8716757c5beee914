"""What do our words mean? The nouns of the field, frozen, with no I/O behind them."""
