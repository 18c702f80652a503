"""Log shipper: follows files and speaks the Beats protocol."""
