"""What may we do? Rules, the guard that asks them all, and the files they are written in."""
