"""Signal to intent: conditioning, features, the engine, decisions, sessions and bundles. No torch here."""
