"""Which pixels do we hold? The storage SCP, and what it keeps."""
