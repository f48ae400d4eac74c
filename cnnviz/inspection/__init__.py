"""Looking inside one trained network."""
