"""`keystead documents`: list, show, search, push, pull and delete the documents of a collection."""

from __future__ import annotations

from cyclopts import App

from keystead.cli.documents.pull import pull
from keystead.cli.documents.push import push
from keystead.cli.documents.reading import delete, list_, search, show

app = App(
    name="documents", help="Push and pull files of a collection, search it, and delete from it."
)
app.command(list_, name="list")
app.command(show)
app.command(search)
app.command(push)
app.command(pull)
app.command(delete)
