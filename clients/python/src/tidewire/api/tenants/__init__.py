"""The operations with the tag `tenants`, a module each."""
