"""What every room may use and what uses no room: arrays, errors with exit codes, text made safe to show."""
