"""The services that the function calls, each in a module of its own."""
