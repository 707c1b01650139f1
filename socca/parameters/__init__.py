"""Things with named parameters: their values, expressions, ties and units."""
