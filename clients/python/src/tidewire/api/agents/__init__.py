"""The operations with the tag `agents`, a module each."""
