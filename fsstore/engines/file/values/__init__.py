"""Small values that change in place: the dispatch checkpoint, what subscriptions remember, leases."""
