"""The command line: train, eval, generate, serve, report, status, doctor."""
