"""The proof of no loss: shipper, collector and broker are disturbed in every way, and every line arrives."""
