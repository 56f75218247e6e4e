"""The faces: terminal, JSON lines, keys. A face shows facts and hands on keys; it decides nothing about the network."""
