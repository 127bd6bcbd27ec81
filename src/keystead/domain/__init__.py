"""The rules: pure values and functions, standard library only; no SQL, no HTTP, no clock."""
