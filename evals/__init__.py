"""How well do we decide? Worlds, replay, checks and reports."""
