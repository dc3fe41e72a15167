"""Stand-ins for what the operator talks to, for tests of it and of what is built on it. Nothing here is a mock."""
