"""What did we do, and why? The ledger, its reading, and its words."""
