"""What the command line promises: it writes to standard output, and says what it did not understand."""
