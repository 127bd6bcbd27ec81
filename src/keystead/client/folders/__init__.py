"""Files and folders as documents: which are found, what each becomes, and in which batches they are sent."""
