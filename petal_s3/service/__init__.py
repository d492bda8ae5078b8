"""Everything built once, and the verbs that all front ends share; imports ``upload`` and below."""
