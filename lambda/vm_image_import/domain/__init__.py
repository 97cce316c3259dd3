"""What the use cases work with: pure values, without AWS."""
