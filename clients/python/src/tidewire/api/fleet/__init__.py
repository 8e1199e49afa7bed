"""The operations with the tag `fleet`, a module each."""
