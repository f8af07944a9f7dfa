"""What `import rlrig` gives a program: the commands' work as functions, which raise instead of exit."""
