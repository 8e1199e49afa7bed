"""The operations of the API: a package for each tag, a module for each operation."""
