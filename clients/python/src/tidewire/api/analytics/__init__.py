"""The operations with the tag `analytics`, a module each."""
