"""Every shape on the wire, written once: for the API, exports, webhook payloads and the generated documents."""
