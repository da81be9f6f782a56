"""Pages of the board, the same for a static site and the server."""
