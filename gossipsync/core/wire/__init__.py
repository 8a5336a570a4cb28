"""The wire: messages, their strict codec, and framing."""
