"""Engine.IO: transports, and the sans-IO session that they drive. Knows nothing of Socket.IO."""
