"""Writing into folders that others can write to as well: whole files only, and never through a symbolic link."""
