"""A thousand robots."""
