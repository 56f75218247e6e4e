"""The values everything speaks in: frozen, without I/O, without a clock. Imports only this package."""
