"""What can be done to a customer, and the one place that does it."""
