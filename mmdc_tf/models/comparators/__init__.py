"""The models that the paper compares with, one file a family."""
