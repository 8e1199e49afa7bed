"""The operations with the tag `executions`, a module each."""
