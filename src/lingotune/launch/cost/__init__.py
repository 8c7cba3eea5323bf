"""Money: prices, quotes, bills."""
