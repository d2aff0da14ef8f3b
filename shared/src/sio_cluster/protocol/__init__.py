"""The bus protocol: pure data and pure functions, no IO and no clock."""
