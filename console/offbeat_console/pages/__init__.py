"""The pages: each reads the board, sends what changed, and asks the desk to act."""
