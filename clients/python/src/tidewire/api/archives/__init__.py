"""The operations with the tag `archives`, a module each."""
