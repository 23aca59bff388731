"""What Guard promises, seen from outside: one call at a time, on a clock that the test turns."""
