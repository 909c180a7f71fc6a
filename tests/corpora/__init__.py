"""The published messages and images as Hilum takes them, and as independent readers read them (README.md)."""
