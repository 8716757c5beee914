"""What is thought of each candidate's success, and which of the allowed is tried: learnt or not."""
