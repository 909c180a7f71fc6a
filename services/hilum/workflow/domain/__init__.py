"""Pure rules over facts: what is known of a case in, what follows from it out."""
