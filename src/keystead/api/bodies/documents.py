"""The bodies of calls about collections and documents."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from keystead.api.bodies.body import Body
from keystead.domain import documents
from keystead.domain.documents import CollectionDraft, CollectionPatch, DocumentDraft, Push
from keystead.wire.schema import member


def _collection_title(description: str) -> Any:
    maximum = documents.MAX_TITLE
    return member(description, "Product handbook", minLength=1, maxLength=maximum)


class NewCollection(Body):
    """A collection to create."""

    name: Annotated[
        str,
        member(
            "The name in URLs: unique in the workspace, and permanent.",
            "handbook",
            pattern=f"^{documents.NAME_PATTERN}$",
        ),
    ]
    title: Annotated[
        str | None,
        _collection_title("The title to display, on one line. Omitted or null: the name."),
    ] = None

    def draft(self) -> CollectionDraft:
        """Return the domain's value."""
        return CollectionDraft(self.name, self.title)


class CollectionChange(Body):
    """Changes to a collection. Omitted members stay as they are."""

    title: Annotated[str, _collection_title("The title to display, on one line.")] = ""

    def patch(self) -> CollectionPatch:
        """Return the domain's value."""
        return CollectionPatch(self.sent("title"))


class NewDocument(Body):
    """The whole content of a document."""

    title: Annotated[
        str, member("Omitted: no title.", "Lost passwords", maxLength=documents.MAX_TITLE)
    ] = ""
    text: Annotated[
        str, member("At most 256 KiB in UTF-8.", "Ask your administrator for a new one.")
    ]
    url: Annotated[
        str | None,
        member(
            "Where the document is published: http or https. Omitted or null: no URL.",
            "https://example.com/handbook/passwords",
            maxLength=documents.MAX_URL,
        ),
    ] = None
    attributes: Annotated[
        dict[str, Any],
        member(
            "Any further data: at most 16 KiB as JSON, nested 8 deep. Omitted: none.",
            {"team": "it"},
        ),
    ] = {}

    def draft(self, id: str) -> DocumentDraft:
        """Return the domain's value."""
        return DocumentDraft(id, self.text, self.title, self.url, self.attributes)


class BatchDocument(NewDocument):
    """A document of a batch."""

    id: Annotated[
        str,
        member(
            "The document's id in the collection.", "passwords", pattern=f"^{documents.ID_PATTERN}$"
        ),
    ]


class Batch(Body):
    """Documents to put and ids to delete: together at most 1,000, each id once, all or nothing."""

    upsert: Annotated[
        list[BatchDocument],
        Field(description="Documents to put. Omitted: none.", max_length=documents.MAX_PUSH),
    ] = []
    delete: Annotated[
        list[str],
        Field(
            description="Ids of documents to delete. Ids without a document are ignored. Omitted: none.",
            examples=[["old-passwords"]],
            max_length=documents.MAX_PUSH,
        ),
    ] = []

    def push(self) -> Push:
        """Return the domain's value."""
        return Push([document.draft(document.id) for document in self.upsert], self.delete)
