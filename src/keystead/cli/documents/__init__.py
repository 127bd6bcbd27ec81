"""Documents from the command line: pushing folders and searching."""
