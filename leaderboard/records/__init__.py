"""Records of measurements, as files: what every other room reads. Imports msgspec alone."""
