"""A closed loop to learn in: made-up people who answer what the real engine does to them."""
