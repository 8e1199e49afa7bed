"""The operations with the tag `operations`, a module each."""
