"""The engines that ship. Each is found through the entry-point group ``ishowtts.engines``."""
