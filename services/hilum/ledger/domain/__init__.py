"""Pure rules over what was read from the topics: timelines, sums, and what does not add up."""
