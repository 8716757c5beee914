"""What should we do next? The workspace, the funnel, the minds, and the supervisor's graph."""
