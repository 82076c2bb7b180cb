"""What ``mmdc-tf`` can do, a module a command; heavy imports stand inside the functions, so that help comes at once."""

EXIT_OK, EXIT_FAILED_ROW, EXIT_BAD_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED = 0, 1, 2, 70, 130
