"""The experiments of `keystead prove`: they use an installation over HTTP, as its clients do, and judge what they saw.

Nothing here opens a database or knows a rule of the product; what only an operator can do is handed in.
"""
