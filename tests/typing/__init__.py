"""What the type checkers of a user see."""
