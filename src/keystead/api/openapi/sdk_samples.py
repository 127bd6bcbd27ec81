"""The workspace API's calls with our Python SDK, by operation. A test runs each and compares its request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_KEY: Final = '"key_02tcRIyrxLXTR81B3dqdOx"'
_WEBHOOK: Final = '"wh_02tcRIyrxLXTR81B3dqdOx"'
_DELIVERY: Final = '"dlv_02tcRIyrxLXTR81B3dqdOx"'


@dataclass(frozen=True, slots=True)
class SdkCall:
    """A call with the SDK: the content of the `with` block of the client, and further imports."""

    lines: str
    imports: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def code(self, server: str) -> str:
        """Return the whole program."""
        head = ["import os", *self.imports, ""]
        names = ", ".join(["Client", *self.names])
        client = f'Client({json.dumps(server)}, os.environ["KEYSTEAD_TOKEN"])'
        body = self.lines.replace("\n", "\n    ")
        return (
            "\n".join(
                [*head, f"from keystead.client import {names}", "", f"with {client} as client:"]
            )
            + f"\n    {body}"
        )


def _shown(call: str, *names: str) -> SdkCall:
    return SdkCall(f"print({call})", names=names)


def _each(call: str, shown: str) -> SdkCall:
    return SdkCall(f"for item in {call}:\n    print({shown})")


def _secret(call: str, secret: str) -> SdkCall:
    return SdkCall(f"created = {call}\nprint(created.{secret}.reveal())  # shown only once")


SDK_CALLS: Final[Mapping[str, SdkCall]] = MappingProxyType(
    {
        "whoami": _shown("client.whoami()"),
        "getPlan": _shown("client.plan().quotas"),
        "getPolicy": _shown("client.policy().effective"),
        "createKey": _secret(
            'client.keys.create("data-warehouse sync", scopes=["documents:read"])', "token"
        ),
        "listKeys": _each('client.keys.list(status="active")', "item.id, item.description"),
        "getKey": _shown(f"client.keys.get({_KEY})"),
        "updateKey": _shown(f'client.keys.update({_KEY}, description="warehouse sync")'),
        "revokeKey": SdkCall(f"client.keys.revoke({_KEY})"),
        "rotateKey": SdkCall(
            f"created = client.keys.rotate({_KEY}, overlap=timedelta(hours=24))\n"
            "print(created.token.reveal())  # shown only once",
            imports=("from datetime import timedelta",),
        ),
        "getKeyUsage": _shown(f"client.keys.usage({_KEY})"),
        "renewKey": _secret("client.keys.renew()", "token"),
        "getUsage": _each("client.usage.by_key()", "item.key, item.requests"),
        "createCollection": _shown('client.collections.create("handbook")'),
        "listCollections": _each("client.collections.list()", "item.name, item.documents"),
        "getCollection": _shown('client.collections.get("handbook")'),
        "updateCollection": _shown('client.collections.update("handbook", title="Handbook")'),
        "deleteCollection": SdkCall('client.collections.delete("handbook")'),
        "listDocuments": _each('client.documents.list("handbook")', "item.id, item.title"),
        "getDocument": _shown('client.documents.get("handbook", "passwords").text'),
        "putDocument": SdkCall(
            'document = DocumentDraft("passwords", "Ask your administrator.", title="Lost passwords")\n'
            'print(client.documents.put("handbook", document))',
            names=("DocumentDraft",),
        ),
        "deleteDocument": SdkCall('client.documents.delete("handbook", "passwords")'),
        "pushDocuments": SdkCall(
            'document = DocumentDraft("passwords", "Ask your administrator.", title="Lost passwords")\n'
            'print(client.documents.push("handbook", [document], delete=["old-passwords"]))',
            names=("DocumentDraft",),
        ),
        "listEvents": _each(
            'client.events.list(type="key.revoked")', "item.occurred_at, item.type"
        ),
        "createWebhook": _secret(
            'client.webhooks.create("CRM", "https://example.com/hooks/keys", events=["key.revoked"])',
            "secret",
        ),
        "listWebhooks": _each("client.webhooks.list()", "item.id, item.url, item.status"),
        "getWebhook": _shown(f"client.webhooks.get({_WEBHOOK})"),
        "updateWebhook": _shown(f'client.webhooks.update({_WEBHOOK}, events=["key.revoked"])'),
        "deleteWebhook": SdkCall(f"client.webhooks.delete({_WEBHOOK})"),
        "rotateWebhookSecret": _secret(f"client.webhooks.rotate_secret({_WEBHOOK})", "secret"),
        "testWebhook": _shown(f"client.webhooks.test({_WEBHOOK})"),
        "listDeliveries": _each(f"client.deliveries.list({_WEBHOOK})", "item.id, item.status"),
        "getDelivery": _shown(f"client.deliveries.get({_DELIVERY})"),
        "resendDelivery": _shown(f"client.deliveries.redeliver({_DELIVERY})"),
    }
)
"""By the operation's id."""
