"""Who is this, as of now? Readers of events, identity, the consent ledger and contact history."""
