"""What the receiver is measured beside."""
