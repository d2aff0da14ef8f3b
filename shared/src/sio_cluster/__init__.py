"""What both kinds of node agree on: the words, the messages, the keys and the streams."""
