"""What is kept, and how safely? Tables, migrations, keys, and one transaction at a time."""
