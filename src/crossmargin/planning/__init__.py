"""What to do: allocation, sizing, drawdown control, rebalancing, cheapest hedge."""
