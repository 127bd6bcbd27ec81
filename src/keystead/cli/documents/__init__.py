"""`keystead documents`: push files and folders, and search."""
