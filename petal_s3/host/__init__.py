"""The parts that face petal-app-manager; imports ``service`` and below."""
