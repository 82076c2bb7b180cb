"""Where a network looks: Grad-CAM and its own attention, and whether that is on the lesion."""
