"""integration: did it land where they look? Findings go to the reading list, the chart and the archive, with proof."""
