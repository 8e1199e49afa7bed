"""The operations with the tag `workers`, a module each."""
