"""How does the world reach us? Settings, assembly, the command line, and what it prints."""
