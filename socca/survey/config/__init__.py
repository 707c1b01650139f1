"""The config of a survey: its schema, its values, and the objects that are built from it."""
