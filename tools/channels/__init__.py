"""The ways a message leaves: each channel sends at most once and says what it knows."""
