"""The servers of an experiment: HTTP connections, endpoints, processes, a faulty server, a fault proxy."""
