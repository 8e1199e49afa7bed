"""The operations with the tag `threads`, a module each."""
