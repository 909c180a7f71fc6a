"""What does the engine see? From the pixels of a task, through an engine, to findings."""
