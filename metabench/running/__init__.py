"""Planning and executing cells."""
