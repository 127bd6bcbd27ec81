"""Every shape on the wire, once: for the API, the command line, exports, webhooks and generated documents."""
