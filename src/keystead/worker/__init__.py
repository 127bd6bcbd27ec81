"""Background work: periodic tasks, webhook deliveries and mail."""
