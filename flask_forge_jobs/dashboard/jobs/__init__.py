"""The lists of jobs: their filters, links, columns and bulk actions, without HTML."""
