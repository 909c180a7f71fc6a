"""What may be sent, to whom and when: frozen facts and pure functions, no I/O."""
