"""Records of measurements, as files: the ground floor, which every other room and each task may import.

It imports msgspec, and of the project the errors and threats of `adversarial` alone.
"""
