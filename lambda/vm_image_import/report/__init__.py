"""What the function reports: log, metrics, notifications and answers."""
