"""A trained model for someone who did not train it: what it says of an image, and where it looks."""
