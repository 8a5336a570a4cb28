"""The sans-IO core: no clock, entropy, socket, file, thread or log line of its own."""
