"""What did the sender say? One reader per format, and what they share."""
