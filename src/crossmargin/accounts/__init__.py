"""What happened to the money: events, the double-entry ledger and where it is kept."""
