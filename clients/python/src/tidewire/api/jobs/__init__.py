"""The operations with the tag `jobs`, a module each."""
