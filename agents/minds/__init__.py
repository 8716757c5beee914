"""What chooses among the allowed: a formula, or (asked by a journey) a model."""
