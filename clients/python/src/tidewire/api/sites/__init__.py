"""The operations with the tag `sites`, a module each."""
