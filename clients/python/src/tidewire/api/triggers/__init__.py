"""The operations with the tag `triggers`, a module each."""
