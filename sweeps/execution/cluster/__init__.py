"""The Ray cluster: connection, nodes, and checks of what joins."""
