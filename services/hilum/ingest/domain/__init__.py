"""The rules of ingest, free of wires and databases."""
